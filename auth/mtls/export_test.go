package mtls

// DistinguishedName lets tests read names that no certificate would have.
var DistinguishedName = distinguishedName
