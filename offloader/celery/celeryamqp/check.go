package celeryamqp

// Check says what is wrong with the settings. It connects to nobody.
func (s Server) Check() error {
	_, err := s.urls()
	return err
}
