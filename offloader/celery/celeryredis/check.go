package celeryredis

import "fmt"

// Check says what is wrong with the settings. It connects to nobody.
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
