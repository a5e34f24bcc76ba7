"""Alerts on changes of state, and pings when all is well: they read evidence, and change no verdict.

``deliver`` is called last in a run, ``alert_overdue`` by whoever looks at the calendar.
"""

from restore_drill.alerting.delivery import Delivery as Delivery
from restore_drill.alerting.delivery import alert_overdue as alert_overdue
from restore_drill.alerting.delivery import deliver as deliver
