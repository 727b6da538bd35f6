package main

import (
	"strings"
	"testing"
)

// texts are those of findings.
func texts(found []finding) string {
	var s []string
	for _, f := range found {
		s = append(s, f.text)
	}
	return strings.Join(s, "; ")
}

// What scanners print about a server that has faults is a finding, and what they print
// about one that has none is not.
func TestFindings(t *testing.T) {
	padding := strings.Repeat(`{"id":"x","severity":"OK","finding":""},`, 20)
	for _, tt := range []struct {
		name, out, want string
		read            func(string) ([]finding, error)
	}{
		{"grade A", "TLSv1.2:\n ciphers:\n TLSv1.3:\n|_  least strength: A\n", "", plainly(readCiphers)},
		{
			"grade C, an old version, warnings", "TLSv1.0:\n  warnings:\n  SSLv3:\n least strength: C\n",
			"the least strength is not A; TLSv1.0 is offered; SSLv3 is offered; there are warnings", plainly(readCiphers),
		},
		{"nothing graded", "Host is up", "the least strength is not A", plainly(readCiphers)},
		{"good suites", "TLSv1.1   disabled\nTLSv1.2   enabled\nTLSv1.2 not vulnerable to heartbleed\nPreferred TLSv1.3  128 bits  TLS_AES_128_GCM_SHA256  Curve\n", "", plainly(readSSLScan)},
		{
			"bad suites", "TLSv1.0   enabled\nTLSv1.2 vulnerable to heartbleed\nAccepted  TLSv1.2  128 bits  ECDHE-RSA-AES128-SHA  Curve\n",
			"TLSv1.0 is enabled; a cipher suite without AEAD: ECDHE-RSA-AES128-SHA; TLSv1.2 is vulnerable to heartbleed", plainly(readSSLScan),
		},
		{"no suite", "Connected", "no cipher suite is accepted", plainly(readSSLScan)},
		{
			"testssl", `[` + padding + `{"id":"BEAST","severity":"LOW","finding":"vulnerable"},{"id":"y","severity":"INFO","finding":""}]`,
			"BEAST (LOW): vulnerable", func(s string) ([]finding, error) { return readTestSSL([]byte(s)) },
		},
		{"methods", "| http-methods: \n|_  Supported Methods: GET HEAD\n", "", plainly(readScripts)},
		{
			"risky methods", "|   Potentially risky methods: TRACE\n| http-trace: TRACE is enabled\n|_http-server-header: nginx\n",
			"Potentially risky methods: TRACE; TRACE is enabled; http-server-header: nginx", plainly(readScripts),
		},
		{
			"wapiti", `{"vulnerabilities":{"SQL Injection":[{"info":"in id","path":"/items"}],"XSS":[]},"anomalies":{"Internal Server Error":[{"info":"500","path":"/x"}]}}`,
			"Internal Server Error: 500 at /x; SQL Injection: in id at /items", func(s string) ([]finding, error) { return readWapiti([]byte(s)) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := tt.read(tt.out)
			if err != nil || texts(found) != tt.want {
				t.Errorf("got %q, %v; want %q", texts(found), err, tt.want)
			}
		})
	}
	for name, f := range map[string]func() error{
		"testssl": func() error { _, err := readTestSSL([]byte(`[]`)); return err },
		"wapiti":  func() error { _, err := readWapiti([]byte(`<html>`)); return err },
	} {
		if f() == nil {
			t.Errorf("%s: a report without results: got no error", name)
		}
	}
}

func plainly(read func(string) []finding) func(string) ([]finding, error) {
	return func(s string) ([]finding, error) { return read(s), nil }
}

// A finding counts unless it is explained.
func TestSummary(t *testing.T) {
	var r report
	r.section("a", "text", finding{"testssl", "cert_notAfter (HIGH): soon"}, finding{"testssl", "heartbleed (CRITICAL): vulnerable"})
	text, open := r.summary()
	if open != 1 || !strings.Contains(text, "heartbleed (CRITICAL): vulnerable\n    NOT EXPLAINED") || strings.Count(text, "NOT") != 1 {
		t.Errorf("got %d open of\n%s", open, text)
	}
	for _, e := range explained {
		if e.why == "" {
			t.Errorf("%s has no explanation", e.begins)
		}
	}
}

// A slow request that is answered at once holds no connection, and its scan shows nothing.
func TestMostConnected(t *testing.T) {
	status := func(pending, connected string) string {
		return "slow HTTP test status on 5th second:\n\ninitializing:        0\npending:             " + pending + "\nconnected:           " + connected + "\nclosed:              0\n"
	}
	for _, tt := range []struct {
		name, out string
		want      int
	}{
		{"answered at once", status("1", "0"), 0},
		{"some held", status("1", "0") + status("0", "10") + status("0", "7"), 10},
		{"in color", strings.ReplaceAll(status("0", "300"), "connected:           ", "\x1b[1;32mconnected:   \x1b[0m        "), 300},
		{"nothing printed", "", 0},
	} {
		if got := mostConnected(tt.out); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}
