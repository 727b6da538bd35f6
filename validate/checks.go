package validate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	httperr "github.com/sallyport/sallyport/errors"
)

// With returns a Validator that also makes checks which need more than the request, such as
// a look into a database. They are made once the rules hold, in their order, and with a
// context that ends after Config.CheckTimeout or with the request:
//
//	v.With(func(ctx context.Context, u *NewUser) error {
//		taken, err := users.Exists(ctx, u.Name)
//		if taken {
//			return validate.Broken(httperr.Field{Pointer: "/name", Code: "taken", Detail: "is taken"})
//		}
//		return err
//	})
//
// What [Broken] returns is gathered from all checks into one answer. Any other error ends
// them and is the error of the request: a context that has ended is a 504 (or a 503, if the
// request's own has), what is no Problem a 500. A check that panics is the server's fault
// too. A check may complete the T; it must not keep it. With leaves v as it is, and panics
// if a check is nil.
//
// A check is no lock: what it finds may have changed when the handler acts on it. The
// database's own constraint has the last word.
func (v *Validator[T]) With(checks ...func(ctx context.Context, t *T) error) *Validator[T] {
	for _, check := range checks {
		if check == nil {
			panic("validate: With: a check is nil")
		}
	}
	with := *v
	with.checks = append(slices.Clip(v.checks), checks...)
	return &with
}

// Broken returns the 422 of fields that break rules, for a check of [Validator.With] or a
// handler's own. Pointer is a JSON Pointer, Location "body" if it is empty; Code and Detail
// are shown to the client, so they must not hold what was sent.
func Broken(fields ...httperr.Field) *httperr.Problem {
	fields = slices.Clone(fields)
	for i := range fields {
		if fields[i].Location == "" {
			fields[i].Location = body
		}
	}
	return failed(fields)
}

// check makes the checks of v.
func (v *Validator[T]) check(ctx context.Context, t *T) error {
	if len(v.checks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, v.lim.checks)
	defer cancel()
	var fields []httperr.Field
	var causes []error
	for _, check := range v.checks {
		var err error
		if cause := try(func() { err = check(ctx, t) }); cause != nil {
			if cause == http.ErrAbortHandler {
				panic(cause)
			}
			return fmt.Errorf("validate: a check of %s panicked: %v", typeName(v.plan.typ), cause)
		}
		var p *httperr.Problem
		switch ended := ctx.Err(); {
		case errors.As(err, &p) && p != nil && p.Code == brokenCode && len(p.Fields) > 0:
			fields = append(fields, p.Fields...)
			if cause := p.Unwrap(); cause != nil {
				causes = append(causes, cause)
			}
		case err == nil && ended != nil:
			return fmt.Errorf("validate: a check of %s: %w", typeName(v.plan.typ), ended)
		case p == nil && ended != nil && !errors.Is(err, ended): // drivers have their own words for it
			return fmt.Errorf("validate: a check of %s: %w: %w", typeName(v.plan.typ), ended, err)
		case err != nil:
			return err
		}
	}
	if len(fields) > 0 {
		p := failed(fields[:min(len(fields), v.lim.errors)])
		if len(causes) > 0 {
			p = p.WithCause(errors.Join(causes...))
		}
		return p
	}
	return nil
}
