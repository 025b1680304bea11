package services

import (
	"fmt"
	"os"
	"path/filepath"
)

// PHPFPM is a PHP-FPM that listens on addr, a port or a socket, and runs as many scripts
// at the same time as it has workers. It keeps its configuration, its pid and its log in
// folder, which it must be able to enter. extra has additional lines for its pool's
// configuration.
func PHPFPM(addr, folder string, workers int, extra string) (Program, error) {
	owner := ""
	if os.Geteuid() == 0 {
		owner = "user = root\ngroup = root\n"
	}
	config := filepath.Join(folder, "fpm.conf")
	text := fmt.Sprintf("[global]\npid = %[1]s/pid\nerror_log = %[1]s/fpm.log\n[www]\nlisten = %[2]s\npm = static\npm.max_children = %[3]d\nclear_env = no\n"+
		"php_admin_value[output_buffering] = 0\n%[4]s%[5]s\n", folder, addr, workers, owner, extra)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return Program{}, fmt.Errorf("writing the configuration of PHP-FPM: %w", err)
	}
	return Program{
		Name: "PHP-FPM", Log: filepath.Join(folder, "log"),
		Args: []string{PHPFPMCommand(), "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", config},
	}, nil
}

// PHPFPMCommand returns the path of the program, whose name has its version and whose
// folder is only in root's PATH.
func PHPFPMCommand() string {
	for _, pattern := range []string{"/usr/sbin/php-fpm*", "/usr/local/sbin/php-fpm*"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	return "php-fpm"
}
