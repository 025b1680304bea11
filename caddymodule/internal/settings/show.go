package settings

import "github.com/caddy-offload/caddy-offload/offloader"

// View returns settings in the form of the admin endpoint: numbers, and text for durations
// and "off". Settings of the breaker that depend on timeouts are filled in.
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

// Text returns settings in the form of the log. The settings of the breaker have a prefix,
// as in "breaker.window".
func Text(s offloader.Settings) map[string]string {
	all := map[string]string{"longest_timeout": "off", "breaker": "off"}
	if s.LongestRun != 0 {
		all["longest_timeout"] = s.LongestRun.String()
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

// Changed returns the settings that differ between was and is, in the form of the log.
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
