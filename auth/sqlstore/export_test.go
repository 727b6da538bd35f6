package sqlstore

// A Statement is what a Store sends.
type Statement struct {
	What, Text string
	Again      bool
}

// Statements returns all that s sends, but for Migrate and Check.
func (s *Store) Statements() (all []Statement) {
	for _, st := range s.statements {
		all = append(all, Statement{st.what, st.text, st.again})
	}
	return all
}

const (
	Attempts     = attempts
	AttemptsLost = attemptsLost
	Batch        = batch
)
