package caddymodule

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfilesite"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/suggest"
)

// adviser writes errors about the first line of a directive, with a cure. The lines that it
// suggests are valid as they stand.
type adviser struct {
	matcher   string                 // the text of the directive's matcher
	pools     map[string]*PoolConfig // of the global option
	taken     map[string]bool        // names of routes' own pools
	hasOption bool                   // there is a global option
}

// advice returns the error about arguments of the directive that are not the name of one
// defined pool. A matcher that comes first is not among the arguments.
func (a adviser) advice(args []string) string {
	if i := slices.IndexFunc(args, isOption); i >= 0 && i <= 1 {
		return a.adviseBlock(args[:i], args[i:])
	}
	var matchers, others []string
	if a.matcher != "" {
		matchers = append(matchers, a.matcher)
	}
	for _, arg := range args {
		switch {
		case a.pools[arg] != nil:
			others = append(others, arg)
		case strings.HasSuffix(arg, ".php") && !caddyfilesite.LooksLikeMatcher(arg):
			return fmt.Sprintf("'%s' is neither a pool nor an inline matcher, and would not include pretty URLs: write '@dynamic {', 'not {', 'file', 'not path *.php', '}', '}' on separate lines, and then 'offload @dynamic'",
				arg)
		case caddyfilesite.LooksLikeMatcher(arg) || looksLikePath(arg):
			matchers = append(matchers, pathOf(arg))
		default:
			others = append(others, arg)
		}
	}
	pool := ""
	if len(others) > 0 {
		pool = others[0]
	}
	switch {
	case len(others) > 1:
		return fmt.Sprintf("unexpected '%s': offload takes a matcher and the name of a pool, nothing more", others[1])
	case len(matchers) > 1 || a.matcher == "" && len(matchers) == 1:
		return a.adviseMatcher(args, matchers, pool)
	}
	return a.adviseOtherPool(pool)
}

// isOption reports whether an argument of the directive is an option, which belongs in its
// block.
func isOption(arg string) bool {
	return arg == "name" || slices.Contains(poolOptions, arg) || slices.Contains(routeOptions, arg)
}

// adviseBlock returns the error about options that are in the first line, after at most one
// other argument.
func (a adviser) adviseBlock(before, options []string) string {
	matcher, pool := a.matcher, ""
	switch {
	case len(before) == 0:
	case a.pools[before[0]] != nil || !caddyfilesite.LooksLikeMatcher(before[0]) && !looksLikePath(before[0]):
		pool = before[0]
	case matcher == "" && looksLikeInline(pathOf(before[0])):
		matcher = pathOf(before[0])
	default:
		return a.advice(before) // the matcher first: one advice at a time
	}
	ofPool := slices.ContainsFunc(options, func(word string) bool { return word == "name" || slices.Contains(poolOptions, word) })
	if pool != "" && ofPool && a.pools[pool] != nil {
		return fmt.Sprintf("'%s' is an option of pools: write it where pool '%s' is defined", options[0], pool)
	}
	lines := optionLines(options)
	if pool != "" && a.pools[pool] == nil {
		lines = append([]string{"name " + token(pool)}, lines...)
		pool = ""
	}
	return fmt.Sprintf("'%s' is an option, and options stand in a block: write '%s {', '%s', '}' on separate lines",
		options[0], a.head(matcher, pool), strings.Join(lines, "', '"))
}

// optionLines splits words of one line into the lines of a block, each with an option and
// its values.
func optionLines(words []string) (lines []string) {
	for _, word := range words {
		if isOption(word) || len(lines) == 0 {
			lines = append(lines, token(word))
		} else {
			lines[len(lines)-1] += " " + token(word)
		}
	}
	return lines
}

// looksLikeInline reports whether a matcher needs no line that defines it.
func looksLikeInline(matcher string) bool {
	return matcher == "*" || strings.HasPrefix(matcher, "/")
}

// adviseMatcher returns the error about several matchers, or a matcher that is not in the
// first place. pool is the name of a pool in the same line, or empty.
func (a adviser) adviseMatcher(args, matchers []string, pool string) string {
	paths := !slices.ContainsFunc(matchers, func(m string) bool { return strings.HasPrefix(m, "@") })
	switch {
	case len(matchers) > 1 && paths:
		return fmt.Sprintf("unexpected '%s': offload takes one matcher, and one for several paths has a name: write '@blocking path %s' and '%s' on separate lines%s",
			args[0], strings.Join(matchers, " "), a.head("@blocking", pool), a.undefined(pool))
	case len(matchers) > 1:
		return fmt.Sprintf("unexpected '%s': offload takes one matcher: write '%s' and '%s' on separate lines%s",
			args[0], a.head(matchers[0], pool), a.head(matchers[1], pool), a.undefined(pool))
	case strings.HasPrefix(matchers[0], "*") && matchers[0] != "*":
		return fmt.Sprintf("'%s' is neither a pool nor an inline matcher, which begins with '/' or is '*': write '@blocking path %s' and '%s' on separate lines%s",
			args[0], matchers[0], a.head("@blocking", pool), a.undefined(pool))
	case slices.Contains(args, matchers[0]):
		return fmt.Sprintf("the matcher comes first: write '%s'%s", a.head(matchers[0], pool), a.undefined(pool))
	}
	return fmt.Sprintf("paths begin with '/': write '%s'%s", a.head(matchers[0], pool), a.undefined(pool))
}

// adviseOtherPool returns the error about a name that no defined pool has.
func (a adviser) adviseOtherPool(name string) string {
	if a.taken[name] {
		return fmt.Sprintf("pool '%s' belongs to another route: to share it, %s, with the options of the pool in its block, and write '%s' in the other route too, instead of 'name %s'",
			name, a.definition(name), a.head("<matcher>", name), token(name))
	}
	known := slices.Collect(maps.Keys(a.pools))
	if hint := suggest.DidYouMean("; ", name, known); hint != "" {
		return fmt.Sprintf("unknown pool '%s'%s", name, hint)
	}
	return fmt.Sprintf("unknown pool '%s': %s%s", name, a.definition(name), suggest.KnownPools(known))
}

// head returns the first line of the directive, with a matcher and a pool unless empty.
func (a adviser) head(matcher, pool string) string {
	words := []string{"offload"}
	if matcher != "" {
		words = append(words, matcher)
	}
	if pool != "" {
		words = append(words, token(pool))
	}
	return strings.Join(words, " ")
}

// undefined returns the advice to define a pool, as the end of an error, if the pool is not
// defined.
func (a adviser) undefined(pool string) string {
	if pool == "" || a.pools[pool] != nil {
		return ""
	}
	return ", and " + a.definition(pool)
}

// definition returns the advice to define a pool.
func (a adviser) definition(name string) string {
	if a.hasOption {
		return fmt.Sprintf("define it by a line 'pool %s' in the global option 'offload'", token(name))
	}
	return fmt.Sprintf("define it in the global option: write 'offload {', 'pool %s', '}' on separate lines in the block '{', '}' that begins the file", token(name))
}

// token returns a word in the form in which a Caddyfile needs it.
func token(word string) string {
	if word == "" || strings.ContainsAny(word, " \t\"`{}#") {
		return strconv.Quote(word)
	}
	return word
}

// looksLikePath reports whether an argument in the place of a pool's name is a pattern of
// paths.
func looksLikePath(arg string) bool {
	return strings.ContainsAny(arg, "*/") || strings.HasPrefix(arg, ".")
}

// pathOf returns the matcher or the pattern of paths that was probably meant.
func pathOf(arg string) string {
	switch {
	case caddyfilesite.LooksLikeMatcher(arg), strings.HasPrefix(arg, "*"):
		return arg
	case strings.HasPrefix(arg, "."):
		return "*" + arg
	}
	return "/" + arg
}

// unrecognized rejects the current option of a block that has other options. It names the
// block that the option belongs to, the option that was probably meant, or the brace that
// is missing above a directive.
func unrecognized(d *caddyfile.Dispenser, block string, options []string) error {
	option, hint := d.Val(), ""
	for _, home := range []struct {
		options []string
		text    string
	}{
		{poolOptions, ": it belongs to the block of a pool"},
		{settings.Breaker.Names(), ": it belongs to the block of 'breaker'"},
		{slices.Concat(routeOptions, []string{"name"}), ": it belongs to the block of an 'offload' directive"},
		{spoolOptions, ": it belongs to the block of 'spool' in the global option 'offload'"},
		{appOptions, ": it belongs to the global option 'offload'"},
		{directives, ": it is a directive, so a '}' is missing above it, which ends the block of " + block},
	} {
		if slices.Contains(home.options, option) {
			hint = home.text
		}
	}
	if hint == "" {
		hint = suggest.DidYouMean(": ", option, options)
	}
	return d.Errf("unrecognized subdirective '%s' of %s%s", option, block, hint)
}

// directives lists the directives of Caddy and of this project that a site usually has,
// since Caddy does not export its list. Names that are also options of this project are
// left out.
var directives = []string{
	"abort", "acme_server", "basic_auth", "bind", "celery", "encode", "error", "file_server", "forward_auth", "fs",
	"handle", "handle_errors", "handle_path", "header", "import", "intercept", "invoke", "log", "log_append", "log_skip",
	"map", "method", "metrics", "offload", "php_fastcgi", "push", "redir", "request_body", "request_header", "respond",
	"reverse_proxy", "rewrite", "root", "route", "templates", "tls", "tracing", "try_files", "uri", "vars",
}
