package oauth

// FailSigning makes s fail with err where it would sign. A key that was checked
// at construction gives a test no other way to see that.
func (s *Server) FailSigning(err error) {
	s.sign = func([]byte) (string, error) { return "", err }
}
