package celeryamqp

// Check validates the settings without a connection.
func (s Server) Check() error {
	_, err := s.urls()
	return err
}
