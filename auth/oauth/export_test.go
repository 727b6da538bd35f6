package oauth

// FailSigning makes s fail with err where it would sign, until mend is called. A key
// that was checked at construction gives a test no other way to see that.
func (s *Server) FailSigning(err error) (mend func()) {
	sign := s.sign
	s.sign = func([]byte) (string, error) { return "", err }
	return func() { s.sign = sign }
}
