package celeryredis

import "fmt"

// Check validates the settings without a connection.
func (s Server) Check() error {
	client, _, err := s.client()
	if err != nil {
		return err
	}
	if err := client.Close(); err != nil {
		return fmt.Errorf("closing an unused client: %w", err)
	}
	return nil
}
