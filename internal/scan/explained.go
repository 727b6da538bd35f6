package main

import "strings"

// explained are the findings that are none, by how their text begins, and why.
var explained = []struct{ scanner, begins, why string }{
	{"testssl", "cert_chain_of_trust ", "the quickstart makes a self-signed certificate; a service has one of an authority"},
	{"testssl", "cert_expirationStatus ", "that certificate is made for one day"},
	{"testssl", "cert_notAfter ", "that certificate is made for one day"},
	{"testssl", "cert_revocation ", "nobody can revoke a self-signed certificate; short-lived ones need no CRL or OCSP"},
	{"testssl", "TLS_session_ticket ", "the hint is for clients; crypto/tls changes the keys of tickets each day and drops them after seven"},
	{"wapiti", "HTTP Secure Headers: X-XSS-Protection ", "browsers have dropped the filter that this field is for, and it opened holes; the CSP does its work"},
	{"wapiti", "HTTP Secure Headers: Strict-Transport-Security ", "the field has no effect over plain HTTP (RFC 6797, section 7.2); testssl sees it over HTTPS"},
	{"nmap", "HSTS not configured", "the field has no effect over plain HTTP (RFC 6797, section 7.2); testssl sees it over HTTPS"},
}

// explain returns why a finding is none, or "".
func explain(f finding) string {
	for _, e := range explained {
		if e.scanner == f.scanner && strings.HasPrefix(f.text, e.begins) {
			return e.why
		}
	}
	return ""
}
