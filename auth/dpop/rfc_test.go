package dpop_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth/dpop"
)

// The proofs of the RFC's examples, and the thumbprint of their key (section 6.1).
const (
	rfcHeader     = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
	rfcToken      = rfcHeader + ".eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	rfcResource   = rfcHeader + ".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	rfcAccess     = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	rfcThumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
)

func TestRFC9449_4_1_And_7_1_Examples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(1562262616, 0)))
		v := newVerifier(t, func(c *dpop.Config) {
			c.Origins = []string{"https://server.example.com", "https://resource.example.org"}
		})
		for name, tt := range map[string]struct {
			method, path, proof, token string
		}{
			"token request":    {http.MethodPost, "/token", rfcToken, ""},
			"resource request": {http.MethodGet, "/protectedresource", rfcResource, rfcAccess},
		} {
			p, err := v.Verify(request(tt.method, tt.path, tt.proof), tt.token)
			if err != nil || p.Thumbprint != rfcThumbprint {
				t.Errorf("%s: got %+v, %v", name, p, err)
			}
			if p, err := v.Verify(request(tt.method, tt.path, tt.proof), tt.token); err == nil {
				t.Errorf("%s, again: got %+v", name, p)
			}
		}
		if p, err := v.Verify(request(http.MethodGet, "/protectedresource", rfcResource), rfcAccess+"x"); err == nil {
			t.Errorf("with another token: got %+v", p)
		}
	})
}
