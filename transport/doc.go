// Package transport is the edge of an HTTP service: TLS and safe timeouts,
// response headers for browsers, the client's address behind proxies, and doors
// that refuse what no handler should see.
//
//	srv, err := transport.NewServer(":443", handler, transport.ServerConfig{
//		CertFile: "cert.pem", KeyFile: "key.pem",
//		RedirectAddr: ":80", RedirectHost: "api.example.com",
//	})
//	…
//	err = transport.Run(ctx, srv) // until ctx ends, then drains
//
// # Order
//
// From the outside in: errors.Recover, [ClientIP.Wrap], [Secure], then the doors
// that refuse ([RequireHTTPS], [AllowedHosts], [Methods], [StrictPath], [StripHeaders],
// [CSRF]), then a limiter by address, [MaxBody], and authentication. ClientIP comes first
// because the others ask it for the client's scheme, and Secure stands above
// whatever refuses, so that refusals carry its headers too.
//
// # Certificates
//
// A renewed certificate is used without a restart where it comes from files, from an ACME
// authority or from GetCertificate. In the last quarter of its life, or the last two weeks if
// that is less, a server's log warns of it once an hour, as clients come.
//
// Nothing fetches OCSP responses: a certificate is sent with the OCSPStaple that it was
// given, and public authorities such as Let's Encrypt answer OCSP no longer. What makes a
// stolen key worthless soon is a certificate that ends soon: have one for days or weeks, and
// its renewal automatic. One that demands a stapled response (RFC 7633) and has none is
// refused by [NewServer].
//
// # What net/http decides before any door
//
// A request that net/http can't parse never reaches a handler: header sections
// over the limit are answered with 431, and wrong framing (two different
// Content-Length fields, say) with 400, both without the headers of [Secure]. If a
// request has Content-Length and Transfer-Encoding, net/http uses the latter and
// removes the former, as RFC 9112, section 6.1 allows; a door can't tell, so a
// proxy in front must not decide otherwise.
package transport
