"""Put blocks into any network: find the sites, plan, insert, prove, undo."""
