package jwk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit"
)

const (
	defaultRotateEvery = 30 * 24 * time.Hour
	shortestRotation   = time.Minute
	longestRotation    = 2 * 366 * 24 * time.Hour
	defaultKeep        = 24*time.Hour + 10*time.Minute
	saveTimeout        = 30 * time.Second
	retrySave          = time.Minute
)

// RotationConfig says how the keys of a [Ring] change by themselves. The zero value
// makes a ring of ES256 keys that live in memory.
type RotationConfig struct {
	// State is what was saved last. Its zero value begins with a new key.
	State RingState

	// Save keeps the state before it is used, so that no key which has signed, or was
	// published, is lost with the program: [RingState.SaveFile] does for one machine.
	// Where it returns an error everything stays as it is, and it is tried again after
	// a minute. Nil keeps nothing: then a restart makes all tokens bad.
	//
	// Only one program may rotate the keys of a ring. Others that sign or verify with
	// them load what it saves.
	Save func(ctx context.Context, s RingState) error

	// Algorithm is that of new keys. "" means that of the active key, or ES256.
	Algorithm string

	// Every is how long a key signs. 0 means 30 days; from a minute to two years.
	Every time.Duration

	// Publish is how long the next key is published before it signs, which must be
	// longer than MaxAge, for which clients may keep the set they have. 0 means an hour
	// more than MaxAge, or half of Every if that is less.
	Publish time.Duration

	// Keep is how long a key still verifies after it has signed for the last time: the
	// lifetime of the longest token, and what clocks differ. 0 means 24 hours and 10
	// minutes, which is enough for the tokens of package oauth.
	Keep time.Duration

	// MaxAge is that of RingConfig.
	MaxAge time.Duration

	// Audit gets an event when the state can't be saved, and one when it can again. Nil
	// means slog.Default.
	Audit audit.Recorder
}

// A Rotation changes the keys of a ring in time: it publishes the next key before it
// signs, and keeps the one before until its last token has expired. It has one
// goroutine, which ends with [Rotation.Close].
type Rotation struct {
	cfg  RotationConfig
	ring *Ring

	mu      sync.Mutex // of what follows
	state   RingState
	failing bool

	cancel context.CancelFunc
	done   chan struct{}
}

// NewRotation returns a Rotation, whose ring is ready. A first key is saved before
// NewRotation returns; an error of that is one of NewRotation. A state that can't be,
// an unknown algorithm, and times that are out of range or don't fit each other are
// errors that name the field.
func NewRotation(cfg RotationConfig) (*Rotation, error) {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = defaultMaxAge
	}
	if cfg.Every == 0 {
		cfg.Every = defaultRotateEvery
	}
	if cfg.Publish == 0 {
		cfg.Publish = min(cfg.MaxAge+time.Hour, cfg.Every/2)
	}
	if cfg.Keep == 0 {
		cfg.Keep = defaultKeep
	}
	if cfg.Algorithm == "" {
		if cfg.Algorithm = cfg.State.Active.Algorithm(); cfg.Algorithm == "" {
			cfg.Algorithm = "ES256"
		}
	}
	switch a, ok := algorithmNamed(cfg.Algorithm); {
	case !ok:
		return nil, fmt.Errorf("jwk: RotationConfig.Algorithm: %q is not supported", cfg.Algorithm)
	case cfg.State.Active != (Key{}) && (a.kty == ktySecret) != cfg.State.Active.Symmetric():
		return nil, errors.New("jwk: RotationConfig.Algorithm: secrets and public keys can't be in one ring")
	case cfg.Every < shortestRotation || cfg.Every > longestRotation:
		return nil, fmt.Errorf("jwk: RotationConfig.Every must be from %v to %v", shortestRotation, longestRotation)
	case cfg.Publish <= cfg.MaxAge || cfg.Publish >= cfg.Every:
		return nil, errors.New("jwk: RotationConfig.Publish must be longer than MaxAge, and shorter than Every")
	case cfg.Keep < 0 || cfg.Keep/cfg.Every >= maxRetired/2:
		return nil, errors.New("jwk: RotationConfig.Keep is negative, or so long that the keys would be too many")
	}
	r := &Rotation{cfg: cfg, state: cfg.State, done: make(chan struct{})}
	first := r.state.Active == Key{}
	if first {
		if len(r.state.Retired) > 0 || r.state.Next != (Key{}) {
			return nil, errors.New("jwk: RotationConfig.State has keys, but its Active key is none")
		}
		key, err := Generate(cfg.Algorithm)
		if err != nil {
			return nil, err
		}
		r.state = RingState{Active: key, Since: time.Now()}
	}
	if err := r.state.check(); err != nil {
		return nil, fmt.Errorf("jwk: RotationConfig.State: %w", err)
	}
	var err error
	if r.ring, err = NewRing(RingConfig{Active: r.state.Active, Verify: r.state.verifying(), MaxAge: cfg.MaxAge}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	if first {
		if err := r.save(ctx, r.state); err != nil {
			cancel()
			return nil, fmt.Errorf("jwk: RotationConfig.Save: %w", err)
		}
	}
	r.cancel = cancel
	go r.run(ctx)
	return r, nil
}

// Ring returns the ring. It is the same all the time.
func (r *Rotation) Ring() *Ring { return r.ring }

// State returns the keys as they are now.
func (r *Rotation) State() RingState {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	s.Retired = append([]RetiredKey(nil), s.Retired...)
	return s
}

// Close ends the goroutine and waits for it. The ring stays as it is. It returns nil,
// and may be called twice.
func (r *Rotation) Close() error {
	r.cancel()
	<-r.done
	return nil
}

func (r *Rotation) run(ctx context.Context) {
	defer close(r.done)
	for {
		wait := r.advance(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// advance does what is due, and returns how long nothing more is.
func (r *Rotation) advance(ctx context.Context) time.Duration {
	for {
		now := time.Now()
		s, changed, wait := r.step(r.State(), now)
		if !changed {
			return wait
		}
		if err := r.use(ctx, s); err != nil {
			r.tell(err)
			return retrySave
		}
		r.tell(nil)
	}
}

// step returns the state that follows s at now, or how long it stays.
func (r *Rotation) step(s RingState, now time.Time) (next RingState, changed bool, wait time.Duration) {
	rotate := s.Since.Add(r.cfg.Every)
	publish := rotate.Add(-r.cfg.Publish)
	if s.Next != (Key{}) { // clients must have had the time, however late it was published
		rotate = later(rotate, s.Published.Add(r.cfg.Publish))
	}
	kept := s.Retired[:0:0]
	for _, one := range s.Retired {
		if one.Until.After(now) {
			kept = append(kept, one)
		}
	}
	switch {
	case len(kept) < len(s.Retired):
		s.Retired = kept
		return s, true, 0
	case s.Next == Key{} && !publish.After(now):
		key, err := Generate(r.cfg.Algorithm)
		if err != nil {
			return s, false, retrySave // the algorithm is known: this does not happen
		}
		s.Next, s.Published = key, now
		return s, true, 0
	case s.Next != Key{} && !rotate.After(now):
		s.Retired = append(kept, RetiredKey{s.Active.verifyOnly(), now.Add(r.cfg.Keep)})
		s.Active, s.Since = s.Next, now
		s.Next, s.Published = Key{}, time.Time{}
		return s, true, 0
	}
	due := publish
	if s.Next != (Key{}) {
		due = rotate
	}
	for _, one := range s.Retired {
		if one.Until.Before(due) {
			due = one.Until
		}
	}
	return s, false, max(due.Sub(now), time.Millisecond)
}

// use saves s, and then makes it the ring's.
func (r *Rotation) use(ctx context.Context, s RingState) error {
	state, err := newRingState(s.Active, s.verifying())
	if err != nil {
		return err
	}
	if err := r.save(ctx, s); err != nil {
		return err
	}
	r.mu.Lock()
	r.state = s
	r.mu.Unlock()
	return r.ring.change(func(*ringState) (*ringState, error) { return state, nil })
}

func (r *Rotation) save(ctx context.Context, s RingState) (err error) {
	if r.cfg.Save == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	s.Retired = append([]RetiredKey(nil), s.Retired...)
	return r.cfg.Save(ctx, s)
}

// tell records that saving has failed, or works again: once for each change.
func (r *Rotation) tell(err error) {
	r.mu.Lock()
	changed := r.failing != (err != nil)
	r.failing = err != nil
	r.mu.Unlock()
	if !changed {
		return
	}
	e := audit.Event{Name: audit.SysMonitorEnabled, Level: slog.LevelInfo, Reason: "the state of the key ring is saved again"}
	if err != nil {
		e = audit.Event{Name: audit.SysMonitorDisabled, Level: slog.LevelError, Reason: "the state of the key ring can't be saved, so its keys stay as they are: " + err.Error()}
	}
	audit.RecordContext(context.Background(), r.cfg.Audit, e)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
