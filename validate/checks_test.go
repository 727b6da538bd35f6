package validate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	httperr "github.com/sallyport/sallyport/errors"
	"github.com/sallyport/sallyport/validate"
)

type newUser struct {
	Name string `json:"name" validate:"required,max=5"`
	Mail string `json:"mail"`
}

func TestChecks(t *testing.T) {
	v, err := validate.New[newUser](validate.Config{})
	if err != nil {
		t.Fatal(err)
	}
	taken := func(_ context.Context, u *newUser) error {
		if u.Name == "bob" {
			return fmt.Errorf("looked up: %w", validate.Broken(httperr.Field{Pointer: "/name", Code: "taken", Detail: "is taken"}))
		}
		return nil
	}
	listed := func(_ context.Context, u *newUser) error {
		if u.Mail == "" {
			u.Mail = "none"
			return nil
		}
		return validate.Broken(httperr.Field{Pointer: "/mail", Location: "header", Code: "listed", Detail: "is listed"})
	}
	slow := func(ctx context.Context, _ *newUser) error {
		<-ctx.Done()
		return errors.New("pq: canceling statement")
	}
	fault := errors.New("no connection to db:secret@host")
	for _, tt := range []struct {
		name, body string
		checks     []func(context.Context, *newUser) error
		status     int
		want       string
	}{
		{"what holds", `{"name":"al"}`, []func(context.Context, *newUser) error{taken, listed}, 204, ""},
		{"one that is broken", `{"name":"bob"}`, []func(context.Context, *newUser) error{taken, listed}, 422, "body /name taken"},
		{"all that are broken", `{"name":"bob","mail":"m"}`, []func(context.Context, *newUser) error{taken, listed}, 422, "body /name taken, header /mail listed"},
		{"rules first", `{"name":""}`, []func(context.Context, *newUser) error{taken, slow}, 422, "body /name required"},
		{"a fault", `{"name":"bob"}`, []func(context.Context, *newUser) error{taken, func(context.Context, *newUser) error { return fault }, slow}, 500, ""},
		{"a problem of another kind", `{"name":"al"}`, []func(context.Context, *newUser) error{func(context.Context, *newUser) error { return httperr.New(409, "conflict", "") }}, 409, ""},
		{"broken, and no field named", `{"name":"al"}`, []func(context.Context, *newUser) error{func(context.Context, *newUser) error { return validate.Broken() }}, 422, ""},
		{"too slow", `{"name":"al"}`, []func(context.Context, *newUser) error{slow}, 504, ""},
		{"too slow, and without a word of it", `{"name":"al"}`, []func(context.Context, *newUser) error{func(context.Context, *newUser) error {
			time.Sleep(6 * time.Second)
			return nil
		}, func(context.Context, *newUser) error { panic("is not made any more") }}, 504, ""},
		{"no problem", `{"name":"al"}`, []func(context.Context, *newUser) error{func(context.Context, *newUser) error { return (*httperr.Problem)(nil) }}, 500, ""},
		{"a panic", `{"name":"al"}`, []func(context.Context, *newUser) error{func(context.Context, *newUser) error { panic("sick") }}, 500, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				a, entered, _, log := serve(t, v.With(tt.checks...).Wrap, post(tt.body))
				if a.Status != tt.status || a.places() != tt.want || (entered == 1) != (tt.status == 204) {
					t.Errorf("got %d %s, %d times in the handler; want %d %s", a.Status, a.places(), entered, tt.status, tt.want)
				}
				if strings.Contains(a.body, "secret") || strings.Contains(a.body, "sick") || strings.Contains(a.body, "pq:") {
					t.Errorf("the answer is %s", a.body)
				}
				if tt.name == "too slow" && (time.Since(start) != 5*time.Second || !strings.Contains(log, "pq: canceling")) {
					t.Errorf("after %s, with the log %s", time.Since(start), log)
				}
			})
		})
	}
	t.Run("an earlier Validator stays as it is", func(t *testing.T) {
		one := v.With(taken)
		for range 2 { // until there is room for one more
			one = one.With(taken)
		}
		two := one.With(listed)
		_ = one.With(slow)
		if _, err := one.Decode(nop{}, post(`{"name":"al","mail":"m"}`)); err != nil {
			t.Errorf("got %v", err)
		}
		if _, err := two.Decode(nop{}, post(`{"name":"al","mail":"m"}`)); err == nil {
			t.Error("got nothing")
		}
		if u, err := two.Decode(nop{}, post(`{"name":"al"}`)); err != nil || u.Mail != "none" {
			t.Errorf("got %+v, %v, want what the check has added", u, err)
		}
	})
	t.Run("of items", func(t *testing.T) {
		once := validate.Broken(httperr.Field{Pointer: "/name", Code: "taken"})
		one := v.With(func(_ context.Context, u *newUser) error {
			if u.Name == "bob" {
				return once
			}
			return nil
		})
		var got []string
		for u, err := range one.Items(nop{}, postLines("{\"name\":\"bob\"}\n{\"name\":\"al\"}\n{\"name\":\"bob\"}")) {
			if p := problem(t, err); p != nil {
				got = append(got, (answer{Errors: p.Fields}).places())
			} else {
				got = append(got, u.Name)
			}
		}
		if want := "[body /0/name taken al body /2/name taken]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
	})
	t.Run("causes", func(t *testing.T) {
		first, second := errors.New("one"), errors.New("two")
		broken := func(cause error) func(context.Context, *newUser) error {
			return func(context.Context, *newUser) error {
				return validate.Broken(httperr.Field{Pointer: "/name", Code: "taken"}).WithCause(cause)
			}
		}
		_, err := v.With(broken(first), broken(nil), broken(second)).Decode(nop{}, post(`{"name":"al"}`))
		if p := problem(t, err); p == nil || len(p.Fields) != 3 || !errors.Is(err, first) || !errors.Is(err, second) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("nil", func(t *testing.T) {
		defer func() {
			if got := fmt.Sprint(recover()); !strings.Contains(got, "a check is nil") {
				t.Errorf("got %s", got)
			}
		}()
		v.With(taken, nil)
	})
	t.Run("an aborted handler", func(t *testing.T) {
		defer func() {
			if got := recover(); got != http.ErrAbortHandler {
				t.Errorf("got %v", got)
			}
		}()
		_, _ = v.With(func(context.Context, *newUser) error { panic(http.ErrAbortHandler) }).Decode(nop{}, post(`{"name":"al"}`))
	})
}

func ExampleValidator_With() {
	type newUser struct {
		Name string `json:"name" validate:"required,max=80"`
	}
	v, err := validate.New[newUser](validate.Config{CheckTimeout: time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	exists := func(context.Context, string) (bool, error) { return true, nil } // a look into a database
	v = v.With(func(ctx context.Context, u *newUser) error {
		taken, err := exists(ctx, u.Name)
		if err == nil && taken {
			return validate.Broken(httperr.Field{Pointer: "/name", Code: "taken", Detail: "is taken"})
		}
		return err
	})
	r := httptest.NewRequest("POST", "/users", strings.NewReader(`{"name":"bob"}`))
	r.Header.Set("Content-Type", "application/json")
	_, err = v.Decode(httptest.NewRecorder(), r)
	fmt.Println(err)
	// Output: httperr: 422: validation_failed: The request breaks rules of its fields.
}
