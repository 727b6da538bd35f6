package transport

import (
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/bodylimit"
	"github.com/sallyport/sallyport/internal/logtext"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// What more than this is sent of reports is not read, or not recorded.
const (
	maxReportBytes      = 64 << 10
	maxReportsABody     = 10
	maxReportsPerMinute = 60
)

// CSPReports returns a handler for the reports of browsers whose pages tried what their
// Content-Security-Policy forbids: application/csp-report, and application/reports+json of
// the Reporting API. Each is one browser_policy_violation event with the directive, what was
// blocked and the page, both without query and fragment, and a word if the policy is
// ReportOnly, so that nothing was blocked. Anyone can send reports, so they
// are hints, and bounded: 64 KiB and 10 reports a request, 60 a minute, of which the rest is
// counted in the next event. The answer is 204, or a problem with 400, 405, 413 or 415.
func CSPReports() http.Handler { return new(cspReports) }

type cspReports struct {
	mu      sync.Mutex
	from    time.Time // when the minute began
	n       int       // recorded in it
	dropped int       // since the last event
}

func (c *cspReports) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := c.read(w, r); err != nil { // without a cause, so that nobody fills the log
		httperr.Write(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *cspReports) read(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		p := httperr.New(http.StatusMethodNotAllowed, "method_not_allowed", "Reports are sent by POST.")
		p.Header = http.Header{"Allow": {"POST"}}
		return p
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/csp-report" && media != "application/reports+json" {
		p := httperr.New(http.StatusUnsupportedMediaType, "unsupported_media_type", "A report must be of type application/csp-report or application/reports+json.")
		p.Header = http.Header{"Accept": {"application/csp-report, application/reports+json"}}
		return p
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	body, err := io.ReadAll(bodylimit.Limit(w, r, maxReportBytes))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return httperr.New(http.StatusRequestEntityTooLarge, "body_too_large", "The report is too large.")
		}
		return httperr.New(http.StatusBadRequest, "malformed_body", "The report could not be read to its end.")
	}
	reports, err := parseReports(media, body)
	if err != nil {
		return httperr.New(http.StatusBadRequest, "malformed_body", "The report is not in the expected form.")
	}
	for _, rep := range reports {
		c.record(r, rep)
	}
	return nil
}

// A report is what is kept of one.
type report struct{ directive, blocked, page, disposition string }

func parseReports(media string, body []byte) (reports []report, err error) {
	lim := strictjson.Limits{Depth: 8}
	if media == "application/csp-report" {
		err = strictjson.Object(body, lim, func(name string, v strictjson.Value) error {
			if name != "csp-report" {
				return nil
			}
			var rep report
			err := rep.read(v.Raw, "effective-directive", "blocked-uri", "document-uri")
			if rep.directive == "" { // of level 2
				err = errors.Join(err, rep.read(v.Raw, "violated-directive", "", ""))
			}
			reports = append(reports, rep)
			return err
		})
		return reports, err
	}
	c, err := strictjson.Read(body, lim)
	if err != nil || c.Kind() != strictjson.Array {
		return nil, errors.Join(err, errors.New("not an array"))
	}
	for more := c.Enter(); more; more = c.More() {
		v := c.Value()
		if len(reports) == maxReportsABody {
			break
		}
		kind, inside := "", strictjson.Value{}
		_ = strictjson.Object(v.Raw, lim, func(name string, v strictjson.Value) (err error) {
			switch name {
			case "type":
				kind, err = v.Text()
			case "body":
				inside = v
			}
			return err
		})
		var rep report
		// Others may come to the same place, in forms of their own.
		if kind == "csp-violation" && rep.read(inside.Raw, "effectiveDirective", "blockedURL", "documentURL") == nil {
			reports = append(reports, rep)
		}
	}
	return reports, nil
}

// read takes the members of these names.
func (rep *report) read(raw []byte, directive, blocked, page string) error {
	return strictjson.Object(raw, strictjson.Limits{Depth: 8}, func(name string, v strictjson.Value) (err error) {
		if name == "" || v.Kind == strictjson.Null { // as if it were left out
			return nil
		}
		switch name {
		case directive:
			rep.directive, err = v.Text()
		case blocked:
			rep.blocked, err = v.Text()
		case page:
			rep.page, err = v.Text()
		case "disposition":
			rep.disposition, err = v.Text()
		}
		return err
	})
}

// record records a report, unless there were too many.
func (c *cspReports) record(r *http.Request, rep report) {
	c.mu.Lock()
	if now := time.Now(); now.Sub(c.from) >= time.Minute {
		c.from, c.n = now, 0
	}
	if c.n++; c.n > maxReportsPerMinute {
		c.dropped++
		c.mu.Unlock()
		return
	}
	dropped := c.dropped
	c.dropped = 0
	c.mu.Unlock()
	e := audit.Event{
		Name: audit.PolicyViolation, Level: slog.LevelWarn, Status: http.StatusNoContent,
		Reason: "a browser reports " + logtext.Clean(rep.directive, 64) + " of " + place(rep.blocked) + " on " + place(rep.page),
	}
	if rep.disposition == "report" { // else "enforce", or of a browser that doesn't say
		e.Reason += ", which a policy that only reports would block"
	}
	if dropped > 0 {
		e.Reason = "after " + strconv.Itoa(dropped) + " others, which were too many, " + e.Reason
	}
	audit.Record(r, nil, e)
}

// place returns a URL without what may be secret in it, or the word that stands for one, such
// as "inline".
func place(s string) string {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return "nothing"
	case err != nil:
		return "what is no URL"
	case u.Opaque != "":
		return logtext.Clean(u.Scheme, 32) + ":"
	case u.Host != "":
		s = u.Scheme + "://" + u.Host + u.EscapedPath()
	default:
		s = u.EscapedPath()
	}
	return logtext.Clean(s, 200)
}
