package settings

import "github.com/caddy-offload/caddy-offload/offloader"

// View returns settings as the admin endpoint shows them: numbers, and text where
// something is off or a duration. What the breaker derives from timeouts is filled in.
func View(s offloader.Settings) map[string]any {
	all := make(map[string]any)
	for _, setting := range Pool {
		all[setting.Name] = setting.view(&s)
	}
	all["breaker"] = "off"
	if s.Breaker != nil {
		filled := s.Breaker.WithDefaults(s.LongestRun)
		s.Breaker = &filled
		breaker := make(map[string]any)
		for _, setting := range Breaker {
			breaker[setting.Name] = setting.view(&s)
		}
		all["breaker"] = breaker
	}
	return all
}

// Text returns settings as the log shows them. Those of the breaker have its name
// before theirs, as in "breaker.window".
func Text(s offloader.Settings) map[string]string {
	all := map[string]string{
		"longest_timeout": textOrOff(s.LongestRun),
		"breaker":         "off",
	}
	if s.Breaker != nil {
		all["breaker"] = "on"
	}
	for _, setting := range Pool {
		all[setting.Name] = setting.text(&s)
	}
	for _, setting := range Breaker {
		all["breaker."+setting.Name] = setting.text(&s)
	}
	return all
}

// Changed returns the settings that differ between two pools, as the log shows them.
func Changed(was, is offloader.Settings) (from, to map[string]string) {
	from, to = make(map[string]string), make(map[string]string)
	before := Text(was)
	for name, value := range Text(is) {
		if before[name] != value {
			from[name], to[name] = before[name], value
		}
	}
	return from, to
}
