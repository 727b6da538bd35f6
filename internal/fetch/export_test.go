package fetch

// ControlPublic is what looks at an address before it is connected to.
func ControlPublic(network, address string) error { return controlPublic(network, address, nil) }
