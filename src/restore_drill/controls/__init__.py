"""Which requirements of which frameworks a drill's records support: data, how it is read, what a period holds of it."""
