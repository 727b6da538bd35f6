package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ciphers has nmap grade the cipher suites of each version of TLS.
func (r *report) ciphers(ctx context.Context, addr string) error {
	host, port, _ := net.SplitHostPort(addr)
	out, err := run(ctx, time.Minute, "nmap", "-Pn", "-n", "-p", port, "--script", "ssl-enum-ciphers", host)
	if err != nil {
		return err
	}
	r.section("nmap ssl-enum-ciphers", out, readCiphers(out)...)
	return nil
}

var oldProtocol = regexp.MustCompile(`(SSLv\d|TLSv1\.[01]):`)

func readCiphers(out string) (found []finding) {
	if !strings.Contains(out, "least strength: A") {
		found = append(found, finding{"ssl-enum-ciphers", "the least strength is not A"})
	}
	for _, m := range oldProtocol.FindAllStringSubmatch(out, -1) {
		found = append(found, finding{"ssl-enum-ciphers", m[1] + " is offered"})
	}
	if strings.Contains(out, "warnings:") {
		found = append(found, finding{"ssl-enum-ciphers", "there are warnings"})
	}
	return found
}

func (r *report) sslscan(ctx context.Context, addr string) error {
	out, err := run(ctx, time.Minute, "sslscan", "--no-colour", addr)
	if err != nil {
		return err
	}
	r.section("sslscan", out, readSSLScan(out)...)
	return nil
}

var (
	enabled  = regexp.MustCompile(`(?m)^(SSLv2|SSLv3|TLSv1\.0|TLSv1\.1)\s+enabled`)
	accepted = regexp.MustCompile(`(?m)^(?:Accepted|Preferred)\s+TLSv1\.\d\s+\d+ bits\s+(\S+)`)
	bleeds   = regexp.MustCompile(`(?m)^(TLSv1\.\d) vulnerable to heartbleed`)
)

func readSSLScan(out string) (found []finding) {
	for _, m := range enabled.FindAllStringSubmatch(out, -1) {
		found = append(found, finding{"sslscan", m[1] + " is enabled"})
	}
	suites := accepted.FindAllStringSubmatch(out, -1)
	if len(suites) == 0 {
		found = append(found, finding{"sslscan", "no cipher suite is accepted"})
	}
	for _, m := range suites {
		if !strings.Contains(m[1], "GCM") && !strings.Contains(m[1], "CHACHA20") {
			found = append(found, finding{"sslscan", "a cipher suite without AEAD: " + m[1]})
		}
	}
	for _, m := range bleeds.FindAllStringSubmatch(out, -1) {
		found = append(found, finding{"sslscan", m[1] + " is vulnerable to heartbleed"})
	}
	return found
}

// testssl looks at protocols, suites, forward secrecy, certificates, headers and known holes.
func (r *report) testssl(ctx context.Context, addr, dir string) error {
	file := filepath.Join(dir, "testssl.json")
	out, err := run(ctx, 4*time.Minute, "testssl", "--color", "0", "--quiet", "--warnings", "off", "--nodns", "min",
		"--jsonfile", file, "-p", "-s", "-f", "-S", "-h", "-U", addr)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(file) //nolint:gosec // in a directory of ours
	if err != nil {
		return err
	}
	found, err := readTestSSL(b)
	if err != nil {
		return err
	}
	r.section("testssl", out, found...)
	return nil
}

func readTestSSL(b []byte) (found []finding, err error) {
	var results []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal(b, &results); err != nil {
		return nil, fmt.Errorf("testssl: %w", err)
	}
	if len(results) < 20 {
		return nil, fmt.Errorf("testssl has %d results", len(results))
	}
	for _, one := range results {
		if one.Severity != "OK" && one.Severity != "INFO" {
			found = append(found, finding{"testssl", one.ID + " (" + one.Severity + "): " + one.Finding})
		}
	}
	return found, nil
}

// scripts has nmap look at methods, headers and cookies.
func (r *report) scripts(ctx context.Context, addr string) error {
	host, port, _ := net.SplitHostPort(addr)
	out, err := run(ctx, time.Minute, "nmap", "-Pn", "-n", "-p", port, "--script",
		"+http-methods,+http-trace,+http-headers,+http-security-headers,+http-server-header,+http-cookie-flags,+http-cors", host)
	if err != nil {
		return err
	}
	r.section("nmap http-*", out, readScripts(out)...)
	return nil
}

var nmapFindings = regexp.MustCompile(`(?i)(potentially risky methods.*|TRACE is enabled|.*not configured.*|httponly flag not set|secure flag not set|http-cors: .*|http-server-header:.*)`)

func readScripts(out string) (found []finding) {
	for _, m := range nmapFindings.FindAllString(out, -1) {
		found = append(found, finding{"nmap", strings.Trim(m, "|_ ")})
	}
	return found
}

// wapiti runs named modules: some of its default ones ask servers outside.
func (r *report) wapiti(ctx context.Context, addr, dir string) error {
	file := filepath.Join(dir, "wapiti.json")
	out, err := run(ctx, 2*time.Minute, "wapiti", "-u", "http://"+addr+"/", "-m", "csp,http_headers,cookieflags,methods,xss,sql",
		"-f", "json", "-o", file, "--flush-session", "--no-bugreport", "-v", "0")
	if err != nil {
		return err
	}
	b, err := os.ReadFile(file) //nolint:gosec // in a directory of ours
	if err != nil {
		return err
	}
	found, err := readWapiti(b)
	if err != nil {
		return err
	}
	r.section("wapiti", out, found...)
	return nil
}

func readWapiti(b []byte) (found []finding, err error) {
	type results map[string][]struct{ Info, Path string }
	var all struct{ Vulnerabilities, Anomalies results }
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("wapiti: %w", err)
	}
	for _, kind := range []results{all.Vulnerabilities, all.Anomalies} {
		for name, list := range kind {
			for _, one := range list {
				found = append(found, finding{"wapiti", name + ": " + one.Info + " at " + one.Path})
			}
		}
	}
	slices.SortFunc(found, func(a, b finding) int { return strings.Compare(a.text, b.text) })
	return found, nil
}

// slowly runs slowhttptest in its four modes while an honest client, at another address of
// this machine, asks ten times a second. A slow body is for a route that reads one, and slow
// requests must have held connections, or they show nothing; ranges are answered at once.
func (r *report) slowly(ctx context.Context, addr string, length time.Duration) error {
	for _, mode := range []struct {
		name, flag, path string
		holds            bool
	}{
		{"slow headers", "-H", "/", true}, {"slow bodies", "-B", "/token", true}, {"ranges", "-R", "/", false}, {"slow reading", "-X", "/", true},
	} {
		honest := make(chan string)
		over := make(chan struct{})
		go func() { honest <- ask(addr, over) }()
		out, err := run(ctx, length+time.Minute, "slowhttptest", mode.flag, "-c", "300", "-i", "1", "-r", "150", "-l", fmt.Sprint(int(length.Seconds())), "-u", "http://"+addr+mode.path)
		close(over)
		trouble := <-honest
		if err != nil {
			return err
		}
		var found []finding
		if mode.holds && mostConnected(out) == 0 {
			found = append(found, finding{"slowhttptest", mode.name + ": no connection was held"})
		}
		if trouble != "" {
			found = append(found, finding{"slowhttptest", mode.name + ": an honest client: " + trouble})
		}
		r.section("slowhttptest, "+mode.name, lastStatus(out), found...)
	}
	return nil
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)

// lastStatus returns the end of what slowhttptest prints, which repeats itself each second.
func lastStatus(out string) string {
	out = escapes.ReplaceAllString(out, "")
	if i := strings.LastIndex(out, "slow HTTP test status"); i >= 0 {
		return out[i:]
	}
	return out
}

// connectedNow is how many connections slowhttptest has at the time of a status.
var connectedNow = regexp.MustCompile(`connected: +([0-9]+)`)

// mostConnected returns the most connections that slowhttptest had at a time.
func mostConnected(out string) (most int) {
	for _, m := range connectedNow.FindAllStringSubmatch(escapes.ReplaceAllString(out, ""), -1) {
		n, _ := strconv.Atoi(m[1])
		most = max(most, n)
	}
	return most
}

// ask is the honest client. It returns what was wrong, if anything.
func ask(addr string, over <-chan struct{}) (trouble string) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	asked, failed := 0, 0
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-over:
			tick.Stop()
			if failed > 0 || asked == 0 {
				return fmt.Sprintf("%d of %d requests were not answered, %s", failed, asked, trouble)
			}
			return ""
		case <-tick.C:
		}
		asked++
		resp, err := client.Get("http://" + addr + "/") //nolint:noctx // has a timeout
		switch {
		case err != nil:
			failed, trouble = failed+1, err.Error()
			continue
		case resp.StatusCode >= 500:
			failed, trouble = failed+1, resp.Status
		}
		_ = resp.Body.Close()
	}
}
