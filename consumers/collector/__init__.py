"""The collector consumer: forwards events to a Snowplow collector, and loses none."""
