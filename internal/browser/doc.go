// Package browser has a real browser, a headless Chromium, try what the doors of package
// transport and a CORS door are to allow and to block. It is a module of its own, so that no
// user of the library sees the CORS door in a go.sum.
package browser
