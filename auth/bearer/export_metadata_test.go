package bearer

// Agrees is what New asks where Config.Resource is set.
func Agrees(r *Resource, cfg *Config) error { return r.agrees(cfg) }
