package validate

import (
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/internal/strictjson"
)

// refuse returns a problem whose event says why. Neither detail nor reason may
// hold anything that was sent.
func refuse(status int, code, detail, reason string) *httperr.Problem {
	p := httperr.New(status, code, detail)
	p.Audit = &audit.Event{Name: audit.InputValidationFail, Level: slog.LevelWarn, Reason: reason}
	return p
}

func tooLarge(limit int64) *httperr.Problem {
	detail := fmt.Sprintf("The body must not be larger than %d bytes.", limit)
	return refuse(http.StatusRequestEntityTooLarge, "body_too_large", detail, "the body is too large")
}

func tooMany(limit int) *httperr.Problem {
	detail := fmt.Sprintf("The body must not have more than %d items.", limit)
	return refuse(http.StatusRequestEntityTooLarge, "body_too_large", detail, "the body has too many items")
}

func tooLargeFields(limit int64) *httperr.Problem {
	detail := fmt.Sprintf("The fields of the form must not be larger than %d bytes together.", limit)
	return refuse(http.StatusRequestEntityTooLarge, "body_too_large", detail, "the fields of the form are too large")
}

// unsupported is the answer to a body of another type. The Accept field names
// what is taken (RFC 9110, section 15.5.16).
func unsupported(want string) *httperr.Problem {
	p := refuse(http.StatusUnsupportedMediaType, "unsupported_media_type", "The body must be of type "+want+", in UTF-8.", "wrong Content-Type")
	p.Header = http.Header{"Accept": {want}}
	return p
}

// encoded is the answer to a compressed body. The Accept-Encoding field tells
// that from a wrong type (RFC 9110, section 12.5.3).
func encoded(gzip bool) *httperr.Problem {
	detail, accept := "The body must be sent without a Content-Encoding.", "identity"
	if gzip {
		detail, accept = "The body must be sent without a Content-Encoding, or with gzip.", "gzip, identity"
	}
	p := refuse(http.StatusUnsupportedMediaType, "unsupported_media_type", detail, "Content-Encoding")
	p.Header = http.Header{"Accept-Encoding": {accept}}
	return p
}

func bodyRequired() *httperr.Problem {
	return refuse(http.StatusBadRequest, "body_required", "A body is required.", "no body")
}

func unreadable(err error) *httperr.Problem {
	return refuse(http.StatusBadRequest, "malformed_body", "The body could not be read to its end.", "the body could not be read").WithCause(err)
}

func malformed(e *strictjson.Error) *httperr.Problem {
	if e.Reason == strictjson.Empty {
		return bodyRequired()
	}
	detail := "The body is not acceptable JSON: " + e.Reason.String() + " at byte " + strconv.Itoa(e.Offset) + "."
	return refuse(http.StatusBadRequest, "malformed_body", detail, e.Error())
}

// invalid is the answer to fields that can't be bound.
func invalid(fields []httperr.Field) *httperr.Problem {
	code, detail := "invalid_parameter", "The request's parameters are not in the expected form."
	for _, f := range fields {
		if f.Location == body || f.Location == form {
			code, detail = "invalid_body", "The body is not in the expected form."
			break
		}
	}
	p := refuse(http.StatusBadRequest, code, detail, reason(fields))
	p.Fields = fields
	return p
}

// forbidden is the answer to fields that the caller may not send.
func forbidden(fields []httperr.Field) *httperr.Problem {
	p := refuse(http.StatusForbidden, "forbidden", "Some fields may not be sent with these credentials.", reason(fields))
	p.Audit.Name = audit.AuthzFail
	p.Fields = fields
	return p
}

const brokenCode = "validation_failed"

// failed is the answer to fields that break their rules.
func failed(fields []httperr.Field) *httperr.Problem {
	p := refuse(http.StatusUnprocessableEntity, brokenCode, "The request breaks rules of its fields.", reason(fields))
	p.Audit.Level = slog.LevelInfo
	p.Fields = fields
	return p
}

// reason lists the first fields for the event. Their places are declared names.
func reason(fields []httperr.Field) string {
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == 5 {
			fmt.Fprintf(&b, "and %d more", len(fields)-i)
			break
		}
		b.WriteString(f.Location + " " + f.Pointer + " " + f.Code)
	}
	return b.String()
}
