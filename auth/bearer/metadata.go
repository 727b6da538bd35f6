package bearer

// A Resource describes an API to clients that don't know its issuer (RFC 9728).
type Resource struct{ metadataURL string }

// MetadataURL returns where the description is.
func (r *Resource) MetadataURL() string { return r.metadataURL }
