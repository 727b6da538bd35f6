package jwk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/internal/fetch"
)

const (
	defaultRotateEvery = 30 * 24 * time.Hour
	shortestRotation   = time.Minute
	longestRotation    = 2 * 366 * 24 * time.Hour
	defaultKeep        = 24*time.Hour + 10*time.Minute
	saveTimeout        = 30 * time.Second
	saveBound          = saveTimeout + 5*time.Second // for a Save that does not look at its context
	retrySave          = time.Minute

	// longestWait is how long the times are not looked at: the clock that wakes stands
	// still while a machine sleeps, and the one that counts may be set.
	longestWait = time.Hour
	// clockSlack is how far a time may lie in the future, as clocks differ and a state
	// is saved with what Save may take.
	clockSlack = 5 * time.Minute
)

// RotationConfig says how the keys of a [Ring] change by themselves. The zero value
// makes a ring of ES256 keys that live in memory.
type RotationConfig struct {
	// State is what was saved last. Its zero value begins with a new key.
	State RingState

	// Save keeps the state before it is used, so that no key which has signed, or was
	// published, is lost with the program: [RingState.SaveFile] does for one machine.
	// Where it returns an error everything stays as it is, and it is tried again after
	// a minute; only keys that verify no more are dropped whether that can be saved or
	// not. Its context ends after 30 seconds. It must end then: after 5 more it counts as
	// failed, and no other is begun before it has ended. Nil keeps nothing: then a
	// restart makes all tokens bad.
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
	// minutes, which is enough for the tokens of package oauth. A key of State
	// whose Until is more than Keep and 5 minutes away ends then.
	Keep time.Duration

	// MaxAge is that of RingConfig.
	MaxAge time.Duration

	// Audit gets an event when the state can't be saved, one when it can again, and one
	// when the state has times that lie in the future. Nil means slog.Default.
	Audit audit.Recorder
}

// A Rotation changes the keys of a ring in time: it publishes the next key before it
// signs, and keeps the one before until its last token has expired. It has one
// goroutine, which ends with [Rotation.Close], and others while Save or Audit is called.
// It is safe for concurrent use. Times are those of the wall clock, which it looks at
// once an hour at least.
//
// Where a private key may be known to somebody else, call [Rotation.Rotate] at once, so
// that another signs, and then [Rotation.Drop] with the id of the old one, so that what
// was signed with it is refused, good tokens too.
type Rotation struct {
	cfg  RotationConfig
	ring *Ring

	saving chan struct{} // holds one while a state is saved and then used, so that states follow each other
	wake   chan struct{} // holds one if there is something new to look at
	teller fetch.Teller

	mu      sync.Mutex // of what follows
	state   RingState
	version int  // of state: the number of its changes
	unsaved bool // state is not what was saved last
	failing bool

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{}
}

// NewRotation returns a Rotation, whose ring is ready. A first key is saved before
// NewRotation returns; an error of that is one of NewRotation. A state that can't be,
// an unknown algorithm, and times that are out of range or don't fit each other are
// errors that name the field.
//
// A time of the state that lies more than 5 minutes in the future was written under a
// wrong clock, and would keep the keys from being rotated: it counts as now, and is
// told.
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
	case cfg.MaxAge < 0 || cfg.MaxAge > longestMaxAge:
		return nil, fmt.Errorf("jwk: RotationConfig.MaxAge must be from 0 to %v", longestMaxAge)
	case cfg.Publish <= cfg.MaxAge || cfg.Publish >= cfg.Every:
		return nil, errors.New("jwk: RotationConfig.Publish must be longer than MaxAge, and shorter than Every")
	case cfg.Keep < 0 || cfg.Keep/cfg.Every >= maxRetired/2:
		return nil, errors.New("jwk: RotationConfig.Keep is negative, or so long that the keys would be too many")
	}
	r := &Rotation{
		cfg: cfg, state: cfg.State.clone(), done: make(chan struct{}),
		saving: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	first := r.state.Active == Key{}
	if first {
		if len(r.state.Retired) > 0 || r.state.Next != (Key{}) {
			return nil, errors.New("jwk: RotationConfig.State has keys, but its Active key is none")
		}
		key, err := Generate(cfg.Algorithm)
		if err != nil {
			return nil, err
		}
		r.state = RingState{Active: key, Since: wallClock()}
	}
	if err := r.state.check(); err != nil {
		return nil, fmt.Errorf("jwk: RotationConfig.State: %w", err)
	}
	settled, changed, wrong := r.settle(r.state, wallClock())
	r.state, r.unsaved = settled, changed
	var err error
	if r.ring, err = NewRing(RingConfig{Active: r.state.Active, Verify: r.state.verifying(), MaxAge: cfg.MaxAge}); err != nil {
		return nil, err
	}
	r.ring.owned = true
	if first {
		if err := r.change(r.ctx, nil); err != nil {
			r.cancel()
			return nil, fmt.Errorf("jwk: RotationConfig.Save: %w", err)
		}
	}
	if wrong {
		r.tellWrong()
	}
	go r.run()
	return r, nil
}

// Ring returns the ring. It is the same all the time. Its Add, Rotate and Drop are
// errors: only the Rotation changes it.
func (r *Rotation) Ring() *Ring { return r.ring }

// State returns the keys as they are now.
func (r *Rotation) State() RingState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.clone()
}

// Rotate makes a new key sign now, for when the active one may be known to somebody
// else. The old one verifies for RotationConfig.Keep, as always; [Rotation.Drop] ends
// that. A key that was published to be the next is dropped, since who has the one may
// have the other. RotationConfig.Publish is skipped: until clients fetch the set anew,
// which the ones that meet an unknown key should do at once, they refuse what the new
// key signs.
//
// The state is saved first. Where that fails, ctx ends, or the Rotation is closed,
// Rotate returns an error and all stays as it was.
func (r *Rotation) Rotate(ctx context.Context) error {
	key, err := Generate(r.cfg.Algorithm)
	if err != nil {
		return err
	}
	err = r.change(ctx, r.sign(key))
	r.look()
	if err != nil {
		return fmt.Errorf("jwk: rotating the keys: %w", err)
	}
	return nil
}

// Drop removes a key that only verifies: what was signed with it is refused from now
// on. It is for a key that may be known to somebody else; others end by themselves. The
// active key can't be dropped: [Rotation.Rotate] first. An unknown id wraps
// [ErrUnknownKey]. Of a published next key another takes the place.
//
// The ring has dropped the key before that is saved. Where saving fails or ctx ends,
// Drop returns an error which says so, the key stays dropped, and saving is tried again:
// only a restart before that brings it back. On a closed Rotation, Drop does nothing and
// returns an error.
func (r *Rotation) Drop(ctx context.Context, id string) error {
	if err := r.forget(id); err != nil {
		return err
	}
	err := r.change(ctx, nil)
	r.look()
	if err != nil {
		return fmt.Errorf("jwk: the key is dropped, but that could not be saved, and will be tried again: %w", err)
	}
	return nil
}

// Close ends the goroutine and waits for it, for a Save that is under way, half a minute
// at most, and for a recorder, a second at most. The ring stays as it is, and Rotate and
// Drop are errors. It returns nil, and may be called twice.
func (r *Rotation) Close() error {
	r.cancel()
	<-r.done
	select {
	case r.saving <- struct{}{}:
		<-r.saving
	case <-time.After(saveBound):
	}
	r.teller.Wait(tellTimeout)
	return nil
}

func (r *Rotation) run() {
	defer close(r.done)
	for {
		wait := r.advance()
		select {
		case <-r.ctx.Done():
			return
		case <-r.wake:
		case <-time.After(min(wait, longestWait)):
		}
	}
}

// look makes the goroutine look at the state, which has changed.
func (r *Rotation) look() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// A step is a change of the state. at is when it is used: while it is saved that is not
// known, and then the latest that it may be. It is false if there is nothing to change.
type step func(s RingState, at time.Time) (RingState, bool)

// advance does what is due, and returns how long nothing more is.
func (r *Rotation) advance() time.Duration {
	for {
		now := wallClock()
		s, unsaved := r.settleNow(now)
		next, wait := r.due(s, now)
		if next == nil && !unsaved {
			return wait
		}
		if err := r.change(r.ctx, next); err != nil {
			if r.ctx.Err() != nil {
				return retrySave // closed: nobody waits for it
			}
			r.tell(err)
			return min(retrySave, untilExpiry(s, wallClock()))
		}
	}
}

// due returns the step that is due at now, or how long none is.
func (r *Rotation) due(s RingState, now time.Time) (step, time.Duration) {
	rotate := s.Since.Add(r.cfg.Every)
	publish := rotate.Add(-r.cfg.Publish)
	if s.Next != (Key{}) { // clients must have had the time, however late it was published
		rotate = later(rotate, s.Published.Add(r.cfg.Publish))
	}
	switch {
	case s.Next == Key{} && !publish.After(now):
		key, err := Generate(r.cfg.Algorithm)
		if err != nil {
			return nil, retrySave // the algorithm is known: this does not happen
		}
		return publishes(key), 0
	case s.Next != Key{} && !rotate.After(now):
		return r.signNext(s.Next), 0
	}
	due := publish
	if s.Next != (Key{}) {
		due = rotate
	}
	return nil, min(max(due.Sub(now), time.Millisecond), untilExpiry(s, now))
}

// untilExpiry returns how long all retired keys verify.
func untilExpiry(s RingState, now time.Time) time.Duration {
	wait := longestWait
	for _, one := range s.Retired {
		wait = min(wait, max(one.Until.Sub(now), time.Millisecond))
	}
	return wait
}

// publishes makes a key the next.
func publishes(key Key) step {
	return func(s RingState, at time.Time) (RingState, bool) {
		if s.Next != (Key{}) {
			return s, false
		}
		s.Next, s.Published = key, at
		return s, true
	}
}

// signNext makes the next key sign, if it still is the next.
func (r *Rotation) signNext(key Key) step {
	return func(s RingState, at time.Time) (RingState, bool) {
		if s.Next != key {
			return s, false
		}
		return r.sign(key)(s, at)
	}
}

// sign makes a key the active one, and the one before verify for as long as it has to.
func (r *Rotation) sign(key Key) step {
	return func(s RingState, at time.Time) (RingState, bool) {
		s.Retired = append(s.Retired, RetiredKey{s.Active.verifyOnly(), at.Add(r.cfg.Keep)})
		s.Active, s.Since = key, at
		s.Next, s.Published = Key{}, time.Time{}
		return s, true
	}
}

// settleNow drops the keys that verify no more and corrects times that can't be. It
// returns the state, and whether that is still to be saved.
func (r *Rotation) settleNow(now time.Time) (s RingState, unsaved bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, changed, wrong := r.settle(r.state, now)
	if changed && r.set(s) == nil {
		r.unsaved = true
	}
	if wrong {
		r.tellWrong()
	}
	return r.state.clone(), r.unsaved
}

// settle returns s without the keys that verify no more, and with times that were not
// written under a wrong clock.
func (r *Rotation) settle(s RingState, now time.Time) (settled RingState, changed, wrong bool) {
	latest := now.Add(clockSlack)
	for _, t := range []*time.Time{&s.Since, &s.Published} {
		if t.After(latest) {
			*t, wrong = now, true
		}
	}
	kept := s.Retired[:0:0]
	for _, one := range s.Retired {
		if last := latest.Add(r.cfg.Keep); one.Until.After(last) {
			one.Until, wrong = last, true
		}
		if one.Until.After(now) {
			kept = append(kept, one)
		}
	}
	changed = wrong || len(kept) < len(s.Retired)
	s.Retired = kept
	return s, changed, wrong
}

// forget drops a key of the state and the ring.
func (r *Rotation) forget(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state.clone()
	s.Retired = slices.DeleteFunc(s.Retired, func(one RetiredKey) bool { return one.Key.ID() == id })
	switch {
	case r.ctx.Err() != nil:
		return fmt.Errorf("jwk: dropping a key: %w", errRotationClosed)
	case id == s.Active.ID():
		return errors.New("jwk: the active key can't be dropped: call Rotation.Rotate first")
	case id == s.Next.ID() && id != "":
		s.Next, s.Published = Key{}, time.Time{}
	case len(s.Retired) == len(r.state.Retired):
		return fmt.Errorf("%w: nothing to drop", ErrUnknownKey)
	}
	if err := r.set(s); err != nil {
		return err
	}
	r.unsaved = true
	return nil
}

// set makes s the state and the ring's. r.mu is held.
func (r *Rotation) set(s RingState) error {
	ring, err := newRingState(s.Active, s.verifying())
	if err != nil {
		return err
	}
	r.state = s
	r.version++
	return r.ring.change(func(*ringState) (*ringState, error) { return ring, nil })
}

var (
	errRotationClosed = errors.New("the Rotation is closed")
	errSaveHangs      = errors.New("the call of Save does not end")
	errSaveEnded      = errors.New("the call of Save has ended its goroutine")
)

// change saves what a step makes of the state, and then makes it the ring's. Without a
// step it saves the state as it is.
func (r *Rotation) change(ctx context.Context, next step) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	bound := time.NewTimer(saveBound)
	defer bound.Stop()
	select {
	case r.saving <- struct{}{}:
	case <-bound.C: // the one before hangs
		return errSaveHangs
	case <-ctx.Done():
		if r.ctx.Err() != nil {
			return errRotationClosed
		}
		return ctx.Err()
	}
	err := r.changeAlone(ctx, next)
	if err != errSaveHangs { // else it is done when that ends
		<-r.saving
	}
	if err == nil {
		r.tell(nil)
	}
	return err
}

// changeAlone is change for whoever holds r.saving.
func (r *Rotation) changeAlone(ctx context.Context, next step) error {
	for {
		switch {
		case r.ctx.Err() != nil:
			return errRotationClosed
		case ctx.Err() != nil:
			return ctx.Err()
		}
		r.mu.Lock()
		s, version := r.state.clone(), r.version
		r.mu.Unlock()
		if next != nil {
			// Whenever it is used, that is not later: a key is not taken for published
			// before it was, and one that signs meanwhile does not end too early.
			changed := false
			if s, changed = next(s, wallClock().Add(saveBound)); !changed {
				return nil
			}
			if err := s.check(); err != nil {
				return err
			}
		}
		if err := r.save(ctx, s); err != nil {
			r.mu.Lock()
			r.unsaved = true // it may have been, all the same
			r.mu.Unlock()
			return err
		}
		if used, err := r.use(next, version); used || err != nil {
			return err
		}
		// A key was dropped meanwhile. What was saved still has it.
	}
}

// use makes what a step makes of the state the ring's, unless the state is not any more
// what was saved with the step.
func (r *Rotation) use(next step, version int) (used bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version != version {
		return false, nil
	}
	if next != nil {
		s, _ := next(r.state.clone(), wallClock())
		if err := r.set(s); err != nil {
			return false, err
		}
	}
	r.unsaved = false
	return true, nil
}

// save calls Save, and waits for it to end, but not for ever: errSaveHangs means that it
// goes on, and gives r.saving back itself.
func (r *Rotation) save(ctx context.Context, s RingState) error {
	if r.cfg.Save == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	result := errSaveEnded
	ended := make(chan struct{}) // closed when result is set
	go func() {
		defer cancel()
		defer close(ended)
		defer func() {
			if v := recover(); v != nil {
				result = fmt.Errorf("panic: %v", v)
			}
		}()
		result = r.cfg.Save(ctx, s.clone())
	}()
	bound := time.NewTimer(saveBound)
	defer bound.Stop()
	select {
	case <-ended:
		return result
	case <-bound.C:
		go func() {
			<-ended
			<-r.saving
		}()
		return errSaveHangs
	}
}

// tell records that saving has failed, or works again: once for each change.
func (r *Rotation) tell(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing == (err != nil) {
		return
	}
	r.failing = err != nil
	e := audit.Event{Name: audit.SysMonitorEnabled, Level: slog.LevelInfo, Reason: "the state of the key ring is saved again"}
	if err != nil {
		e.Name, e.Level = audit.SysMonitorDisabled, slog.LevelError
		e.Reason = "the state of the key ring can't be saved, so that no other key is used: " + err.Error()
	}
	r.record(e)
}

// tellWrong records that the state had times that can't be.
func (r *Rotation) tellWrong() {
	r.record(audit.Event{
		Name: audit.SysMonitorDisabled, Level: slog.LevelWarn,
		Reason: "the state of the key ring has times beyond what the clock and RotationConfig.Keep allow, which are taken back",
	})
}

// record does not wait for the recorder: one that blocks must not keep keys as they are.
func (r *Rotation) record(e audit.Event) {
	e.Time = time.Now()
	r.teller.Tell(func() { audit.RecordContext(context.Background(), r.cfg.Audit, e) })
}

// wallClock returns the time without the monotonic clock's, which stands still while a
// machine sleeps and goes on where the time is set.
func wallClock() time.Time { return time.Now().Round(0) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
