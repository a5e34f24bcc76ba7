"""All that knows pytest, besides the plugin's entry point, the standard cases and the conformance suites."""
