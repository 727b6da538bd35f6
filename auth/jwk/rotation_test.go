package jwk_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/auth/jwk"
	"github.com/sallyport/sallyport/internal/eventlog"
)

// saver keeps what is saved, and fails if it is told to.
type saver struct {
	mu    sync.Mutex
	saved []jwk.RingState
	err   error
}

func (s *saver) save(_ context.Context, state jwk.RingState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.saved = append(s.saved, state)
	return nil
}

func (s *saver) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *saver) last() jwk.RingState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved[len(s.saved)-1]
}

func rotate(t *testing.T, cfg jwk.RotationConfig) *jwk.Rotation {
	t.Helper()
	r, err := jwk.NewRotation(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// verifies reports whether the ring verifies with a key.
func verifies(t *testing.T, r *jwk.Ring, k jwk.Key) bool {
	t.Helper()
	_, err := r.Lookup(t.Context(), k.ID(), k.Algorithm())
	if err != nil && !errors.Is(err, jwk.ErrUnknownKey) {
		t.Fatal(err)
	}
	return err == nil
}

// A key is published, signs, and verifies on, each for its time; and is saved before
// any of it.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s saver
		r := rotate(t, jwk.RotationConfig{Every: 24 * time.Hour, Publish: 2 * time.Hour, Keep: 25 * time.Hour, Save: s.save})
		ring := r.Ring()
		first := ring.Active()
		if first.Algorithm() != "ES256" || s.last().Active != first {
			t.Fatalf("got %s, saved %v", first.Algorithm(), s.last().Active)
		}
		if first.ID() != first.Thumbprint() {
			t.Errorf("the id is %s, want the thumbprint %s", first.ID(), first.Thumbprint())
		}
		time.Sleep(22*time.Hour - time.Second)
		synctest.Wait()
		if got := r.State(); got.Next != (jwk.Key{}) {
			t.Error("the next key is published too early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		second := r.State().Next
		if second == (jwk.Key{}) || s.last().Next != second || !verifies(t, ring, second) || ring.Active() != first {
			t.Fatalf("after 22 hours: %+v", r.State())
		}
		time.Sleep(2*time.Hour - time.Second)
		synctest.Wait()
		if ring.Active() != first {
			t.Error("the next key signs too early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if ring.Active() != second || s.last().Active != second || !verifies(t, ring, first) || !ring.Active().CanSign() {
			t.Errorf("after 24 hours: %+v", r.State())
		}
		if retired := r.State().Retired; len(retired) != 1 || retired[0].Key.CanSign() {
			t.Errorf("a retired key can still sign: %+v", retired)
		}
		time.Sleep(24*time.Hour + time.Second)
		synctest.Wait()
		third := ring.Active()
		if third == second || !verifies(t, ring, first) || !verifies(t, ring, second) {
			t.Errorf("after 48 hours: %+v", r.State())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if verifies(t, ring, first) || !verifies(t, ring, second) {
			t.Error("after 49 hours the first key is not gone, or the second is")
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * 24 * time.Hour)
		synctest.Wait()
		if ring.Active() != third || r.Close() != nil {
			t.Error("a closed rotation goes on")
		}
	})
}

// Over many rotations a token is never refused that was signed within its lifetime,
// and no client that keeps the set for MaxAge meets a key that it does not know.
func TestRotationNeverRefusesAGoodToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lifetime = 15 * time.Minute
		r := rotate(t, jwk.RotationConfig{Every: time.Hour, Publish: 20 * time.Minute, MaxAge: 10 * time.Minute, Keep: lifetime})
		first := r.Ring().Active()
		type token struct {
			key jwk.Key
			end time.Time
		}
		var tokens []token
		cached := map[string]time.Time{} // what a client has fetched, and when it saw it first
		for range 24 * 60 {
			synctest.Wait()
			now := time.Now()
			s := r.State()
			for _, k := range append([]jwk.Key{s.Active, s.Next}, retiredKeys(s)...) {
				if _, ok := cached[k.ID()]; !ok {
					cached[k.ID()] = now
				}
			}
			active := r.Ring().Active()
			if seen := now.Sub(cached[active.ID()]); active != first && seen < 10*time.Minute {
				t.Fatalf("%v: a key signs that was published %v ago", now, seen)
			}
			tokens = append(tokens, token{active, now.Add(lifetime)})
			for _, tok := range tokens {
				if tok.end.After(now) && !verifies(t, r.Ring(), tok.key) {
					t.Fatalf("%v: a token that is good until %v is refused", now, tok.end)
				}
			}
			time.Sleep(time.Minute)
		}
	})
}

func retiredKeys(s jwk.RingState) []jwk.Key {
	var keys []jwk.Key
	for _, r := range s.Retired {
		keys = append(keys, r.Key)
	}
	return keys
}

// A program that was down for long publishes the next key first all the same, and one
// that was down for a moment goes on where it stopped.
func TestRotationGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s saver
		cfg := jwk.RotationConfig{Every: 24 * time.Hour, Publish: 2 * time.Hour, Keep: time.Hour, Save: s.save}
		one := rotate(t, cfg)
		first := one.Ring().Active()
		_ = one.Close()
		time.Sleep(300 * 24 * time.Hour)
		cfg.State = s.last()
		two := rotate(t, cfg)
		synctest.Wait()
		next := two.State().Next
		if two.Ring().Active() != first || next == (jwk.Key{}) {
			t.Fatalf("got %+v", two.State())
		}
		time.Sleep(time.Hour)
		_ = two.Close()
		cfg.State = s.last()
		three := rotate(t, cfg)
		synctest.Wait()
		if three.Ring().Active() != first || three.State().Next != next {
			t.Errorf("got %+v", three.State())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if three.Ring().Active() != next {
			t.Errorf("got %+v", three.State())
		}
	})
}

// What can't be saved is not used, and is tried again; it is told once.
func TestRotationThatCantSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s saver
		var events eventlog.Recorder
		cfg := jwk.RotationConfig{Every: 24 * time.Hour, Publish: 2 * time.Hour, Save: s.save, Audit: &events}
		r := rotate(t, cfg)
		first := r.Ring().Active()
		s.fail(errors.New("the disk is full"))
		time.Sleep(30 * time.Hour)
		synctest.Wait()
		if r.Ring().Active() != first || r.State().Next != (jwk.Key{}) {
			t.Errorf("got %+v, which was not saved", r.State())
		}
		if got := events.Take(); len(got) != 1 || got[0].Name != audit.SysMonitorDisabled || !strings.Contains(got[0].Reason, "the disk is full") {
			t.Errorf("got events %+v", got)
		}
		s.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if r.State().Next == (jwk.Key{}) {
			t.Error("it is not tried again")
		}
		if got := events.Take(); len(got) != 1 || got[0].Name != audit.SysMonitorEnabled {
			t.Errorf("got events %+v", got)
		}
		s.fail(errors.New("the disk is full"))
		if r, err := jwk.NewRotation(cfg); r != nil || err == nil || !strings.Contains(err.Error(), "RotationConfig.Save") {
			t.Errorf("a first key that can't be saved: got %v, %v", r, err)
		}
		cfg.Save = func(context.Context, jwk.RingState) error { panic("oh") }
		if r, err := jwk.NewRotation(cfg); r != nil || err == nil {
			t.Errorf("a Save that panics: got %v, %v", r, err)
		}
	})
}

func TestRotationConfigErrors(t *testing.T) {
	key := ecKey(t, "a")
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for name, tt := range map[string]struct {
		cfg   jwk.RotationConfig
		field string
	}{
		"alg":                    {jwk.RotationConfig{Algorithm: "none"}, "Algorithm"},
		"a secret among others":  {jwk.RotationConfig{Algorithm: "HS256", State: jwk.RingState{Active: key, Since: now}}, "Algorithm"},
		"every second":           {jwk.RotationConfig{Every: time.Second}, "Every"},
		"never":                  {jwk.RotationConfig{Every: 100 * 366 * 24 * time.Hour}, "Every"},
		"published too late":     {jwk.RotationConfig{Publish: 5 * time.Minute}, "Publish"},
		"published all the time": {jwk.RotationConfig{Every: time.Hour, Publish: time.Hour}, "Publish"},
		"a negative keep":        {jwk.RotationConfig{Keep: -1}, "Keep"},
		"a keep of many keys":    {jwk.RotationConfig{Every: time.Hour, Keep: 1000 * time.Hour}, "Keep"},
		"max-age":                {jwk.RotationConfig{MaxAge: -1}, "MaxAge"},
		"a public key":           {jwk.RotationConfig{State: jwk.RingState{Active: public, Since: now}}, "State"},
		"no time":                {jwk.RotationConfig{State: jwk.RingState{Active: key}}, "State"},
		"next without its time":  {jwk.RotationConfig{State: jwk.RingState{Active: key, Since: now, Next: ecKey(t, "b")}}, "State"},
		"no active key":          {jwk.RotationConfig{State: jwk.RingState{Next: key, Published: now}}, "State"},
		"two of one id":          {jwk.RotationConfig{State: jwk.RingState{Active: key, Since: now, Retired: []jwk.RetiredKey{{Key: ecKey(t, "a"), Until: now}}}}, "State"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := jwk.NewRotation(tt.cfg)
			if r != nil || err == nil || !strings.Contains(err.Error(), "."+tt.field) {
				t.Errorf("got %v, %v, want it to name %s", r, err, tt.field)
			}
		})
	}
}

func TestRingStateInAFile(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for _, alg := range []string{"ES256", "RS256", "EdDSA", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			generate := func() jwk.Key {
				k, err := jwk.Generate(alg)
				if err != nil {
					t.Fatal(err)
				}
				return k
			}
			state := jwk.RingState{Active: generate(), Since: now, Next: generate(), Published: now.Add(time.Hour), Retired: []jwk.RetiredKey{{Key: generate(), Until: now.Add(2 * time.Hour)}}}
			name := filepath.Join(t.TempDir(), "ring.json")
			for range 2 { // over the old one too
				if err := state.SaveFile(name); err != nil {
					t.Fatal(err)
				}
			}
			got, err := jwk.LoadRingState(name)
			if err != nil {
				t.Fatal(err)
			}
			if got.Active.ID() != state.Active.ID() || !got.Active.CanSign() || !got.Next.CanSign() || got.Next.ID() != state.Next.ID() ||
				!got.Since.Equal(state.Since) || !got.Published.Equal(state.Published) ||
				len(got.Retired) != 1 || got.Retired[0].Key.ID() != state.Retired[0].Key.ID() || !got.Retired[0].Until.Equal(state.Retired[0].Until) {
				t.Errorf("got %+v, want %+v", got, state)
			}
			signature, err := got.Active.Sign([]byte("x"))
			if err != nil || state.Active.Verify([]byte("x"), signature) != nil {
				t.Errorf("the loaded key is another: %v", err)
			}
			if left, _ := filepath.Glob(name + ".*"); len(left) != 0 {
				t.Errorf("there are %q left", left)
			}
			info, err := os.Stat(name)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the mode is %v, %v", info.Mode(), err)
			}
			if err := os.Chmod(name, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := jwk.LoadRingState(name); err == nil || !strings.Contains(err.Error(), "0600") {
				t.Errorf("a file that all can read: got %v", err)
			}
		})
	}
	if _, err := jwk.LoadRingState(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	state := jwk.RingState{Active: ecKey(t, "a"), Since: now}
	if err := state.SaveFile(filepath.Join(t.TempDir(), "no", "such", "folder")); err == nil {
		t.Error("saved where there is no folder")
	}
	if err := (jwk.RingState{}).SaveFile(filepath.Join(t.TempDir(), "x")); err == nil {
		t.Error("saved a state without a key")
	}
}

func TestParseRingStateErrors(t *testing.T) {
	good, err := jwk.RingState{Active: ecKey(t, "a"), Since: time.Now()}.MarshalPrivate()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwk.ParseRingState(good); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"empty": "", "half": string(good[:len(good)/2]), "an array": "[]", "no key": `{"since":1}`, "a time of text": strings.Replace(string(good), `"since": `, `"since": "x","x":`, 1),
		"a public key": `{"active":` + publicJSON(t) + `,"since":1}`, "two active keys": strings.Replace(string(good), "{", `{"active":{},`, 1), "retired of a text": strings.Replace(string(good), "{", `{"retired":"x",`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := jwk.ParseRingState([]byte(data)); err == nil || s.Active != (jwk.Key{}) {
				t.Errorf("got %+v, %v", s, err)
			}
		})
	}
}

func publicJSON(t *testing.T) string {
	t.Helper()
	public, err := ecKey(t, "p").Public()
	if err != nil {
		t.Fatal(err)
	}
	b, err := public.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func FuzzParseRingState(f *testing.F) {
	good, err := jwk.RingState{Active: ecKey(f, "a"), Since: time.Now()}.MarshalPrivate()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"active":{},"since":1,"retired":[{"key":{},"until":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := jwk.ParseRingState(data)
		if err != nil {
			return
		}
		again, err := s.MarshalPrivate()
		if err != nil {
			t.Fatalf("a state that was read can't be written: %v", err)
		}
		if two, err := jwk.ParseRingState(again); err != nil || two.Active.ID() != s.Active.ID() || len(two.Retired) != len(s.Retired) {
			t.Fatalf("got %+v, then %+v, %v", s, two, err)
		}
	})
}

func ExampleNewRotation() {
	dir, _ := os.MkdirTemp("", "keys")
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "ring.json")

	state, err := jwk.LoadRingState(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Println(err)
		return
	}
	rotation, err := jwk.NewRotation(jwk.RotationConfig{
		State: state,
		Save:  func(_ context.Context, s jwk.RingState) error { return s.SaveFile(file) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rotation.Close()
	fmt.Println(rotation.Ring().Active().Algorithm())
	// Output: ES256
}
