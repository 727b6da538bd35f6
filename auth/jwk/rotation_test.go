package jwk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

func (s *saver) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.saved)
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
		time.Sleep(time.Hour + time.Minute) // and what it may have taken to save it
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

// A rotation's ring can't be changed behind its back: the next step would bring back
// what was dropped.
func TestRotationOwnsItsRing(t *testing.T) {
	r := rotate(t, jwk.RotationConfig{})
	ring, state := r.Ring(), r.State()
	for name, err := range map[string]error{
		"Add": ring.Add(ecKey(t, "a")), "Rotate": ring.Rotate(ecKey(t, "b")), "Drop": ring.Drop(state.Active.ID()), "Drop of none": ring.Drop("none"),
	} {
		if err == nil || !strings.Contains(err.Error(), "Rotation.Rotate") || !strings.Contains(err.Error(), "Rotation.Drop") {
			t.Errorf("%s: got %v, want an error that says what to use", name, err)
		}
	}
	if ring.Active() != state.Active || verifies(t, ring, ecKey(t, "a")) {
		t.Error("the ring was changed")
	}
}

// A key that was stolen: another signs at once, and what was signed with it is refused
// from then on, also after a restart.
func TestRotationInAnIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s saver
		cfg := jwk.RotationConfig{Every: 24 * time.Hour, Publish: 2 * time.Hour, Keep: 30 * time.Hour, Save: s.save}
		r := rotate(t, cfg)
		ring := r.Ring()
		stolen := ring.Active()
		time.Sleep(23 * time.Hour)
		synctest.Wait()
		next := r.State().Next // which may be stolen as well
		if next == (jwk.Key{}) {
			t.Fatal("there is no next key")
		}
		if err := r.Drop(t.Context(), stolen.ID()); err == nil || !strings.Contains(err.Error(), "Rotation.Rotate") || !verifies(t, ring, stolen) {
			t.Errorf("Drop of the active key: got %v", err)
		}
		if err := r.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		fresh := ring.Active()
		if fresh == stolen || fresh == next || !fresh.CanSign() || s.last().Active != fresh || r.State().Active != fresh {
			t.Errorf("%s signs", fresh)
		}
		if !verifies(t, ring, stolen) || verifies(t, ring, next) {
			t.Error("the old key does not verify on, or the next one does")
		}
		if got := r.State().Retired; len(got) != 1 || !got[0].Until.Equal(time.Now().Add(30*time.Hour)) {
			t.Errorf("got %+v", got)
		}
		if err := r.Drop(t.Context(), stolen.ID()); err != nil {
			t.Fatal(err)
		}
		if verifies(t, ring, stolen) || len(s.last().Retired) != 0 {
			t.Error("the stolen key verifies")
		}
		if err := r.Drop(t.Context(), stolen.ID()); !errors.Is(err, jwk.ErrUnknownKey) {
			t.Errorf("a second time: got %v, want ErrUnknownKey", err)
		}
		if err := r.Drop(t.Context(), ""); !errors.Is(err, jwk.ErrUnknownKey) {
			t.Errorf("no id: got %v, want ErrUnknownKey", err)
		}
		for range 3 { // it goes on in its time, and no step brings one back
			signs := ring.Active()
			time.Sleep(24*time.Hour - time.Second)
			synctest.Wait()
			if ring.Active() != signs {
				t.Error("it rotates too early")
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if ring.Active() == signs || verifies(t, ring, stolen) || !verifies(t, ring, signs) {
				t.Errorf("got %+v", r.State())
			}
		}
		_ = r.Close()
		cfg.State = s.last()
		if again := rotate(t, cfg); verifies(t, again.Ring(), stolen) || !verifies(t, again.Ring(), ring.Active()) {
			t.Error("a restart brings the stolen key back, or loses the active one")
		}
		if err := r.Rotate(t.Context()); err == nil {
			t.Error("Rotate after Close: got no error")
		}
		if err := r.Drop(t.Context(), s.last().Retired[0].Key.ID()); err == nil || !verifies(t, ring, s.last().Retired[0].Key) {
			t.Errorf("Drop after Close: got %v", err)
		}
	})
}

// Another key takes the place of a next one that is dropped, and is published for as
// long.
func TestRotationDropsTheNextKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rotate(t, jwk.RotationConfig{Every: 24 * time.Hour, Publish: 2 * time.Hour})
		time.Sleep(23 * time.Hour)
		synctest.Wait()
		first, bad := r.Ring().Active(), r.State().Next
		if err := r.Drop(t.Context(), bad.ID()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		good := r.State().Next
		if good == bad || good == (jwk.Key{}) || verifies(t, r.Ring(), bad) || !verifies(t, r.Ring(), good) {
			t.Errorf("got %+v", r.State())
		}
		time.Sleep(2*time.Hour - time.Second)
		synctest.Wait()
		if r.Ring().Active() != first {
			t.Error("it signs too early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if r.Ring().Active() != good {
			t.Error("it does not sign")
		}
	})
}

// What can't be saved is not rotated, but dropped all the same, and saved when it can be.
func TestRotationInAnIncidentThatCantSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s saver
		var events eventlog.Recorder
		r := rotate(t, jwk.RotationConfig{Every: 24 * time.Hour, Publish: 2 * time.Hour, Save: s.save, Audit: &events})
		ring := r.Ring()
		first := ring.Active()
		if err := r.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := ring.Active()
		full := errors.New("the disk is full")
		s.fail(full)
		if err := r.Rotate(t.Context()); !errors.Is(err, full) || ring.Active() != second {
			t.Errorf("Rotate: got %v", err)
		}
		// It may have been written all the same: what is true is saved once that can be.
		saved := s.count()
		synctest.Wait() // for the first try, which fails
		s.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.count() != saved+1 || s.last().Active != second || len(events.Take()) != 2 {
			t.Errorf("saved %d times, at last %+v", s.count()-saved, s.last())
		}
		s.fail(full)
		if err := r.Drop(t.Context(), first.ID()); !errors.Is(err, full) || verifies(t, ring, first) {
			t.Errorf("Drop: got %v", err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := events.Take(); len(got) != 1 || got[0].Name != audit.SysMonitorDisabled {
			t.Errorf("got events %+v", got)
		}
		s.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if last := s.last(); last.Active != second || len(last.Retired) != 0 {
			t.Errorf("saved %+v", last)
		}
		if got := events.Take(); len(got) != 1 || got[0].Name != audit.SysMonitorEnabled {
			t.Errorf("got events %+v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Rotate(ctx); !errors.Is(err, context.Canceled) || ring.Active() != second {
			t.Errorf("Rotate with a context that has ended: got %v", err)
		}
	})
}

// A key that is dropped while a state with it is saved stays dropped, and is saved as
// dropped, whether Drop waits for that or not.
func TestRotationDropsDuringASave(t *testing.T) {
	for _, tt := range []struct {
		name  string
		at    time.Duration // of the save
		which func(jwk.RingState) jwk.Key
	}{
		{"a retired key, while the next is to be published", 22 * time.Hour, func(s jwk.RingState) jwk.Key { return s.Retired[0].Key }},
		{"a retired key, while the next is to sign", 24 * time.Hour, func(s jwk.RingState) jwk.Key { return s.Retired[0].Key }},
		{"the next key, while it is to sign", 24 * time.Hour, func(s jwk.RingState) jwk.Key { return s.Next }},
	} {
		for _, waits := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, waits %t", tt.name, waits), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var s saver
					var held atomic.Bool
					free := make(chan struct{})
					r := rotate(t, jwk.RotationConfig{Every: 24 * time.Hour, Publish: 2 * time.Hour, Keep: 100 * time.Hour, Save: func(ctx context.Context, state jwk.RingState) error {
						if held.Load() {
							<-free
						}
						return s.save(ctx, state)
					}})
					if err := r.Rotate(t.Context()); err != nil {
						t.Fatal(err)
					}
					time.Sleep(tt.at - time.Second)
					synctest.Wait()
					held.Store(true)
					bad := tt.which(r.State())
					time.Sleep(time.Second)
					synctest.Wait()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					dropped := make(chan error)
					go func() { dropped <- r.Drop(ctx, bad.ID()) }()
					synctest.Wait()
					if verifies(t, r.Ring(), bad) {
						t.Error("a key verifies that is being dropped")
					}
					if waits {
						close(free)
						if err := <-dropped; err != nil {
							t.Error(err)
						}
					} else {
						cancel()
						if err := <-dropped; !errors.Is(err, context.Canceled) {
							t.Errorf("got %v, want Canceled", err)
						}
						close(free)
					}
					synctest.Wait()
					for what, state := range map[string]jwk.RingState{"the state": r.State(), "what was saved": s.last()} {
						if slices.Contains(append(retiredKeys(state), state.Active, state.Next), bad) {
							t.Errorf("the dropped key is back in %s", what)
						}
					}
					if verifies(t, r.Ring(), bad) || s.last().Active != r.Ring().Active() {
						t.Error("the dropped key is back")
					}
				})
			})
		}
	}
}

// Whatever saving takes, a key is published for longer than clients keep a set before it
// signs, and verifies for Keep after it has signed for the last time; and both hold for a
// program that starts again with what was saved.
func TestRotationThatSavesSlowly(t *testing.T) {
	const maxAge, publish, keep = 5 * time.Minute, 5*time.Minute + time.Second, 15 * time.Minute
	for _, slow := range []int{1, 2, 3, 4, 5} {
		t.Run(fmt.Sprint("save ", slow), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				saves := 0
				var states []jwk.RingState
				r := rotate(t, jwk.RotationConfig{Every: time.Hour, MaxAge: maxAge, Publish: publish, Keep: keep, Save: func(_ context.Context, s jwk.RingState) error {
					if saves++; saves == slow {
						time.Sleep(29 * time.Second)
					}
					states = append(states, s)
					return nil
				}})
				ring := r.Ring()
				published, signed := map[string]time.Time{}, map[string]time.Time{}
				first := ring.Active()
				last := first
				for range 3 * 3600 {
					synctest.Wait()
					now, active, state := time.Now(), ring.Active(), r.State()
					for _, k := range append(retiredKeys(state), state.Active, state.Next) {
						if _, ok := published[k.ID()]; !ok {
							published[k.ID()] = now
						}
					}
					if active != last && active != first && now.Sub(published[active.ID()]) < publish {
						t.Fatalf("a key signs that was published %v ago", now.Sub(published[active.ID()]))
					}
					last = active
					signed[active.ID()] = now
					for id, when := range signed {
						if _, err := ring.Lookup(t.Context(), id, "ES256"); err != nil && now.Sub(when) < keep {
							t.Fatalf("a key is dropped that signed %v ago", now.Sub(when))
						}
					}
					time.Sleep(time.Second)
				}
				_ = r.Close() // no save goes on
				for _, s := range states {
					if s.Next != (jwk.Key{}) && s.Published.Before(published[s.Next.ID()]) {
						t.Errorf("%v was saved as published, %v before it was", s.Next, published[s.Next.ID()].Sub(s.Published))
					}
					for _, old := range s.Retired {
						if old.Until.Before(signed[old.Key.ID()].Add(keep)) {
							t.Errorf("%v was saved to verify until %v, and signed until %v", old.Key, old.Until, signed[old.Key.ID()])
						}
					}
				}
				if last == first || len(states) < 5 {
					t.Error("it does not rotate")
				}
			})
		})
	}
}

// A Save that does not end holds up neither what verifies no more nor Close for ever, and
// no other is begun beside it.
func TestRotationWhoseSaveHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events eventlog.Recorder
		free, saves, now := make(chan struct{}), 0, 0
		r := rotate(t, jwk.RotationConfig{Every: 24 * time.Hour, Publish: 2 * time.Hour, Keep: 23 * time.Hour, Audit: &events, Save: func(context.Context, jwk.RingState) error {
			if now++; now > 1 {
				t.Error("two at a time")
			}
			if saves++; saves > 2 {
				<-free
			}
			now--
			return nil
		}})
		ring := r.Ring()
		first := ring.Active()
		if err := r.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := ring.Active()
		time.Sleep(22*time.Hour + time.Minute)
		synctest.Wait()
		if got := events.Take(); len(got) != 1 || got[0].Name != audit.SysMonitorDisabled || r.State().Next != (jwk.Key{}) {
			t.Errorf("got events %+v and %+v", got, r.State())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if verifies(t, ring, first) {
			t.Error("a key verifies longer than it has to")
		}
		if err := r.Rotate(t.Context()); err == nil || ring.Active() != second {
			t.Errorf("Rotate: got %v", err)
		}
		start := time.Now()
		if err := r.Close(); err != nil || time.Since(start) > time.Minute {
			t.Errorf("Close: got %v after %v", err, time.Since(start))
		}
		close(free)
		synctest.Wait()
		if saves != 3 {
			t.Errorf("Save was called %d times, want 3", saves)
		}
	})
}

// A retired key verifies until its time is over, whether that can be saved or not.
func TestRetiredKeysEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s saver
		r := rotate(t, jwk.RotationConfig{Every: 24 * time.Hour, Publish: 2 * time.Hour, Keep: time.Hour, Save: s.save, Audit: new(eventlog.Recorder)})
		first := r.Ring().Active()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		s.fail(errors.New("the disk is full"))
		time.Sleep(30 * time.Second)
		if err := r.Rotate(t.Context()); err == nil { // from now on saving is tried each minute
			t.Error("Rotate: got no error")
		}
		time.Sleep(time.Hour - 31*time.Second)
		synctest.Wait()
		if !verifies(t, r.Ring(), first) {
			t.Error("it ends too early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if verifies(t, r.Ring(), first) {
			t.Error("it verifies after its time")
		}
		s.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := s.last().Retired; len(got) != 0 {
			t.Errorf("saved %+v", got)
		}
	})
	t.Run("before the start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			old, kept := ecKey(t, "old"), ecKey(t, "kept")
			r := rotate(t, jwk.RotationConfig{
				State: jwk.RingState{Active: ecKey(t, "a"), Since: now, Retired: []jwk.RetiredKey{{Key: old, Until: now}, {Key: kept, Until: now.Add(time.Second)}}},
				Save:  func(ctx context.Context, _ jwk.RingState) error { <-ctx.Done(); return ctx.Err() },
				Audit: new(eventlog.Recorder),
			})
			if verifies(t, r.Ring(), old) || !verifies(t, r.Ring(), kept) {
				t.Errorf("got %+v", r.State())
			}
		})
	})
}

// A state that was written under a wrong clock does not keep the keys as they are.
func TestRotationOfAWrongClock(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, tt := range []struct {
		name                    string
		since, published, until time.Duration // from now on
		wrong                   bool
	}{
		{"right", -time.Hour, -time.Minute, 10 * time.Hour, false},
		{"what clocks differ", 4 * time.Minute, 4 * time.Minute, 25*time.Hour + 4*time.Minute, false},
		{"long ago", -9 * year, -9 * year, time.Hour, false},
		{"Since", 20 * year, -time.Minute, 10 * time.Hour, true},
		{"Published", -time.Hour, 20 * year, 10 * time.Hour, true},
		{"Until", -time.Hour, -time.Minute, 20 * year, true},
		{"all", 20 * year, 20 * year, 20 * year, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var events eventlog.Recorder
				now := time.Now()
				active, next, old := ecKey(t, "a"), ecKey(t, "b"), ecKey(t, "c")
				r := rotate(t, jwk.RotationConfig{
					Every: 24 * time.Hour, Publish: 2 * time.Hour, Keep: 25 * time.Hour, Audit: &events,
					State: jwk.RingState{
						Active: active, Since: now.Add(tt.since), Next: next, Published: now.Add(tt.published),
						Retired: []jwk.RetiredKey{{Key: old, Until: now.Add(tt.until)}},
					},
				})
				if !verifies(t, r.Ring(), old) {
					t.Error("the retired key does not verify")
				}
				time.Sleep(24*time.Hour + 5*time.Minute)
				synctest.Wait()
				if r.Ring().Active() == active {
					t.Error("the key still signs")
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if verifies(t, r.Ring(), old) {
					t.Error("the retired key still verifies")
				}
				got := events.Take()
				if tt.wrong != (len(got) == 1) || tt.wrong && (got[0].Name != audit.SysMonitorDisabled || got[0].Level != slog.LevelWarn) {
					t.Errorf("got events %+v", got)
				}
			})
		})
	}
}

// An orderly end while a state is saved is no failure.
func TestRotationThatEndsWhileItSaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events eventlog.Recorder
		saves := 0
		r := rotate(t, jwk.RotationConfig{Every: 24 * time.Hour, Publish: 2 * time.Hour, Audit: &events, Save: func(ctx context.Context, _ jwk.RingState) error {
			if saves++; saves == 1 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}})
		time.Sleep(22*time.Hour + time.Second)
		start := time.Now()
		if err := r.Close(); err != nil || time.Since(start) != 0 {
			t.Errorf("Close: got %v after %v", err, time.Since(start))
		}
		synctest.Wait()
		if got := events.All(); len(got) != 0 || saves != 2 {
			t.Errorf("got events %+v after %d saves", got, saves)
		}
	})
}

// A recorder that blocks keeps no key as it is.
func TestRotationRecorderThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s saver
		free := make(chan struct{})
		defer close(free)
		r := rotate(t, jwk.RotationConfig{Every: 24 * time.Hour, Publish: 2 * time.Hour, Save: s.save, Audit: blocking{free}})
		first := r.Ring().Active()
		s.fail(errors.New("the disk is full"))
		time.Sleep(23 * time.Hour)
		s.fail(nil)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if r.Ring().Active() == first {
			t.Error("it does not rotate")
		}
		start := time.Now()
		if err := r.Close(); err != nil || time.Since(start) != time.Second {
			t.Errorf("Close: got %v after %v, want it to end after a second", err, time.Since(start))
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
		"a time before 1970":     {jwk.RotationConfig{State: jwk.RingState{Active: key, Since: time.Unix(-1, 0)}}, "State"},
		"retired without a time": {jwk.RotationConfig{State: jwk.RingState{Active: key, Since: now, Retired: []jwk.RetiredKey{{Key: ecKey(t, "b")}}}}, "State"},
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
	if _, err := jwk.LoadRingState(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: got %v, want an error that it is no file", err)
	}
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := jwk.LoadRingState(large); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("more than 1 MiB: got %v, want an error that it is larger", err)
	}
	state := jwk.RingState{Active: ecKey(t, "a"), Since: now}
	if err := state.SaveFile(filepath.Join(t.TempDir(), "no", "such", "folder")); err == nil {
		t.Error("saved where there is no folder")
	}
	if err := (jwk.RingState{}).SaveFile(filepath.Join(t.TempDir(), "x")); err == nil {
		t.Error("saved a state without a key")
	}
}

// Whole seconds are kept, and no key signs earlier or ends earlier for it.
func TestRingStateTimesAreRounded(t *testing.T) {
	at := time.Unix(1_900_000_000, 0)
	for _, part := range []time.Duration{0, 1, time.Second / 2, time.Second - 1} {
		now := at.Add(part)
		data, err := jwk.RingState{
			Active: ecKey(t, "a"), Since: now, Next: ecKey(t, "b"), Published: now, Retired: []jwk.RetiredKey{{Key: ecKey(t, "c"), Until: now}},
		}.MarshalPrivate()
		if err != nil {
			t.Fatal(err)
		}
		got, err := jwk.ParseRingState(data)
		if err != nil {
			t.Fatal(err)
		}
		up := at
		if part > 0 {
			up = at.Add(time.Second)
		}
		if !got.Since.Equal(at) || !got.Published.Equal(up) || !got.Retired[0].Until.Equal(up) {
			t.Errorf("%v: got %v, %v and %v, want %v, %v and %v", part, got.Since, got.Published, got.Retired[0].Until, at, up, up)
		}
	}
}

// What is read can be written, and read again as the same.
func TestRingStateRoundTrip(t *testing.T) {
	for name, data := range oddRingStates(t) {
		t.Run(name, func(t *testing.T) {
			s, err := jwk.ParseRingState(data)
			if err != nil {
				t.Fatal(err)
			}
			sameAgain(t, s)
		})
	}
}

// oddRingStates returns states that MarshalPrivate does not write like that.
func oddRingStates(t testing.TB) map[string][]byte {
	secret := func(id string, change ...any) doc {
		return doc{"kty": "oct", "alg": "HS256", "kid": id, "k": b64(append([]byte(id), goodSecret...))}.with(change...)
	}
	private := func(id string) any {
		b, err := ecKey(t, id).MarshalPrivateJWK()
		if err != nil {
			t.Fatal(err)
		}
		return json.RawMessage(b)
	}
	return map[string][]byte{
		"a secret that only verifies": doc{"active": secret("a"), "since": 1, "retired": []any{doc{"key": secret("b", "key_ops", []string{"verify"}), "until": 2}}}.json(t),
		"a secret that signs too":     doc{"active": secret("a"), "since": 1, "retired": []any{doc{"key": secret("b"), "until": 2}}}.json(t),
		"the first second":            doc{"active": private("a"), "since": 0, "next": private("b"), "published": 0, "retired": []any{doc{"key": private("c"), "until": 0}}}.json(t),
		"the last":                    doc{"active": private("a"), "since": 253402300799, "retired": []any{doc{"key": private("c"), "until": 253402300799}}}.json(t),
		"parts of seconds":            doc{"active": private("a"), "since": 1.5, "next": private("b"), "published": 1e-9, "retired": []any{doc{"key": private("c"), "until": 253402300798.5}}}.json(t),
	}
}

// sameAgain checks that a state can be written and read.
func sameAgain(t *testing.T, s jwk.RingState) {
	t.Helper()
	again, err := s.MarshalPrivate()
	if err != nil {
		t.Fatalf("a state that was read can't be written: %v", err)
	}
	two, err := jwk.ParseRingState(again)
	if err != nil {
		t.Fatalf("what was written of %+v can't be read: %v", s, err)
	}
	if two.Active.ID() != s.Active.ID() || !two.Active.CanSign() || two.Next.ID() != s.Next.ID() || two.Next.CanSign() != s.Next.CanSign() || len(two.Retired) != len(s.Retired) {
		t.Fatalf("got %+v, then %+v", s, two)
	}
	for i, r := range two.Retired {
		if was := s.Retired[i]; r.Key.ID() != was.Key.ID() || r.Key.Symmetric() && r.Key.CanSign() != was.Key.CanSign() || r.Until.Before(was.Until) && was.Until.Unix() < 253402300799 {
			t.Fatalf("got %+v, then %+v", s, two)
		}
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
		"a public key": `{"active":` + publicJSON(t) + `,"since":1}`, "two active keys": strings.Replace(string(good), "{", `{"active":{},`, 1), "retired without a time": strings.Replace(string(good), "{", `{"retired":[{"key":`+publicJSON(t)+`}],`, 1), "retired of a text": strings.Replace(string(good), "{", `{"retired":"x",`, 1),
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
	for _, data := range oddRingStates(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := jwk.ParseRingState(data)
		if err != nil {
			return
		}
		sameAgain(t, s)
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
