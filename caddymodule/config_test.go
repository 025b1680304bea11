package caddymodule

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/internal/testkit/adapttest"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// quiet is a logging configuration for tests.
func quiet() *caddy.Logging {
	return &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}
}

// provisioned is a configuration as it is after Provision, before Start.
type provisioned struct {
	t   *testing.T
	ctx caddy.Context
	app *App
}

// provision makes one of the app's JSON. It ends with the test, or earlier.
func provision(t *testing.T, app string) *provisioned {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{Logging: quiet(), AppsRaw: caddy.ModuleMap{"offload": json.RawMessage(app)}})
	if err != nil {
		t.Fatal(err)
	}
	module, err := ctx.App("offload")
	if err != nil {
		t.Fatal(err)
	}
	g := &provisioned{t, ctx, module.(*App)}
	t.Cleanup(g.end)
	return g
}

// end stops a configuration that was replaced, as Caddy does.
func (g *provisioned) end() {
	if err := g.app.Cleanup(); err != nil {
		g.t.Error(err)
	}
}

func (g *provisioned) handler(config string) (*Handler, error) {
	module, err := g.ctx.LoadModuleByID("http.handlers.offload", json.RawMessage(config))
	if err != nil {
		return nil, err
	}
	return module.(*Handler), nil
}

func (g *provisioned) mustHandler(config string) *Handler {
	g.t.Helper()
	h, err := g.handler(config)
	if err != nil {
		g.t.Fatal(err)
	}
	return h
}

// noPools fails the test if a pool is alive.
func noPools(t *testing.T) {
	t.Helper()
	process.Pools.Named.Range(func(name, _ any) bool {
		t.Errorf("pool '%s' is alive", name)
		return true
	})
}

// Invalid JSON is rejected with an error that names the fault. So is an invalid
// Caddyfile: see testdata.
func TestJSONRefused(t *testing.T) {
	for name, test := range map[string]struct{ app, handler, want string }{
		"unknown key of a route":           {handler: `{"concurency": 4}`, want: `unknown field "concurency"`},
		"unknown key of its breaker":       {handler: `{"breaker": {"threshold": 4}}`, want: `unknown field "threshold"`},
		"unknown key of its spool":         {handler: `{"request_spool": {"disk": 4}}`, want: `unknown field "disk"`},
		"unknown key of the app":           {app: `{"pool": {}}`, want: `unknown field "pool"`},
		"unknown key of a pool":            {app: `{"pools": {"a": {"run_timeout": 1}}}`, want: `unknown field "run_timeout"`},
		"unknown key of the budget":        {app: `{"spool": {"folder": "x"}}`, want: `unknown field "folder"`},
		"null app":                         {app: `null`, want: "null"},
		"null route":                       {handler: `null`, want: "module name not specified"},
		"null pool":                        {app: `{"pools": {"a": null}}`, want: "pool 'a': settings must not be null"},
		"pool without a name":              {app: `{"pools": {"": {}}}`, want: "the name of a pool must not be empty"},
		"pool and name":                    {app: `{"pools": {"a": {}}}`, handler: `{"pool": "a", "name": "a"}`, want: "set either 'pool' or 'name'"},
		"jobs without their plugin":        {handler: `{"name": "a", "jobs": {}}`, want: "jobs need the plugin caddymodule/jobs"},
		"jobs of the app":                  {app: `{"jobs": {}}`, want: "xcaddy build --with github.com/caddy-offload/caddy-offload/caddymodule/jobs"},
		"unknown pool":                     {handler: `{"pool": "a"}`, want: "unknown pool 'a': define it in the offload app"},
		"name of the app's pool":           {app: `{"pools": {"a": {}}}`, handler: `{"name": "a"}`, want: "pool 'a' is defined twice"},
		"pool and concurrency":             {app: `{"pools": {"a": {}}}`, handler: `{"pool": "a", "concurrency": 1}`, want: "settings of pool 'a' belong to the offload app"},
		"pool and queue":                   {app: `{"pools": {"a": {}}}`, handler: `{"pool": "a", "queue": 0}`, want: "settings of pool 'a' belong to the offload app"},
		"pool and max_wait":                {app: `{"pools": {"a": {}}}`, handler: `{"pool": "a", "max_wait": "1s"}`, want: "settings of pool 'a' belong to the offload app"},
		"pool and order":                   {app: `{"pools": {"a": {}}}`, handler: `{"pool": "a", "order": "auto"}`, want: "settings of pool 'a' belong to the offload app"},
		"pool and breaker":                 {app: `{"pools": {"a": {}}}`, handler: `{"pool": "a", "breaker": {}}`, want: "settings of pool 'a' belong to the offload app"},
		"pool and linger":                  {app: `{"pools": {"a": {}}}`, handler: `{"pool": "a", "linger": -1}`, want: "settings of pool 'a' belong to the offload app"},
		"pool and classes":                 {app: `{"pools": {"a": {}}}`, handler: `{"pool": "a", "classes": [{"name": "b", "weight": 1}]}`, want: "settings of pool 'a' belong to the offload app"},
		"fair_by":                          {handler: `{"fair_by": "me"}`, want: "bad fair_by value 'me': want a placeholder"},
		"per_key":                          {handler: `{"per_key": -2}`, want: "per_key must not be negative"},
		"queue_per_key":                    {handler: `{"queue_per_key": -2}`, want: "queue_per_key must not be negative"},
		"class without a name":             {handler: `{"classes": [{"weight": 1}]}`, want: "classes must have names"},
		"class without a weight":           {handler: `{"classes": [{"name": "a"}]}`, want: "the weight of class 'a' must be from 1 to 1000, not 0"},
		"class twice":                      {handler: `{"classes": [{"name": "a", "weight": 1}, {"name": "a", "weight": 2}]}`, want: "class 'a' is listed twice"},
		"unknown class":                    {app: `{"pools": {"a": {"classes": [{"name": "b", "weight": 1}]}}}`, handler: `{"pool": "a", "class": "c"}`, want: "unknown class 'c': want one of b, or a placeholder"},
		"class of no pool":                 {handler: `{"class": "c"}`, want: "class 'c' of a pool without classes"},
		"key of no pool":                   {handler: `{"key": "{http.request.host}"}`, want: "key '{http.request.host}' of a pool that does not count by key"},
		"cost":                             {handler: `{"cost": "0"}`, want: "bad cost value '0'"},
		"order":                            {handler: `{"order": "lifo"}`, want: "unknown order 'lifo'"},
		"on_abandon":                       {handler: `{"on_abandon": "ignore"}`, want: "unknown on_abandon 'ignore': want auto, finish or cancel"},
		"max_time":                         {handler: `{"max_time": -2}`, want: "max_time must not be negative"},
		"deadline":                         {handler: `{"deadline": "5s"}`, want: "a fixed time is 'max_time 5s'"},
		"deadline_header":                  {handler: `{"max_time": 1, "deadline_header": "a b"}`, want: "bad deadline_header value 'a b'"},
		"deadline_header alone":            {handler: `{"deadline_header": "a"}`, want: "deadline_header without max_time, deadline or run_timeout: there is no rest of the time to put into the field"},
		"mode":                             {handler: `{"mode": "watch"}`, want: "unknown mode 'watch': want enforce or shadow"},
		"upgrades":                         {handler: `{"upgrades": "off"}`, want: "unknown upgrades 'off': want pass or hold"},
		"reject_status below":              {handler: `{"reject_status": 399}`, want: "reject_status 399 is no error status"},
		"reject_status above":              {handler: `{"reject_status": 600}`, want: "reject_status 600 is no error status"},
		"timeout_status below":             {handler: `{"timeout_status": 399}`, want: "timeout_status 399 is no error status"},
		"timeout_status above":             {handler: `{"timeout_status": 600}`, want: "timeout_status 600 is no error status"},
		"proxy_status_name of a route":     {handler: `{"proxy_status_name": "é"}`, want: "proxy_status_name 'é' must be printable ASCII"},
		"explain, negative":                {app: `{"explain": -2}`, want: "explain must be from 1 to 100000, or -1 for off"},
		"explain, too many":                {app: `{"explain": 100001}`, want: "explain must be from 1 to 100000, or -1 for off"},
		"proxy_status_name of the app":     {app: `{"proxy_status_name": "é"}`, want: "proxy_status_name 'é' must be printable ASCII"},
		"concurrency":                      {handler: `{"concurrency": -2}`, want: "concurrency must not be negative"},
		"queue":                            {handler: `{"queue": -1}`, want: "queue must not be negative"},
		"max_wait":                         {handler: `{"max_wait": "-1s"}`, want: "max_wait must not be negative"},
		"linger":                           {handler: `{"linger": -2}`, want: "linger must not be negative"},
		"run_timeout":                      {handler: `{"run_timeout": "-1s"}`, want: "run_timeout must not be negative"},
		"first_byte_timeout":               {handler: `{"first_byte_timeout": -2}`, want: "first_byte_timeout must not be negative"},
		"stall_timeout":                    {handler: `{"stall_timeout": -2}`, want: "stall_timeout must not be negative"},
		"first_byte_timeout above":         {handler: `{"first_byte_timeout": "2s", "run_timeout": "1s"}`, want: "first_byte_timeout is above run_timeout"},
		"breaker failure_ratio below":      {handler: `{"breaker": {"failure_ratio": -0.5}}`, want: "breaker failure_ratio must be between 0 and 1"},
		"breaker failure_ratio above":      {handler: `{"breaker": {"failure_ratio": 1.5}}`, want: "breaker failure_ratio must be between 0 and 1"},
		"breaker min_requests":             {handler: `{"breaker": {"min_requests": -1}}`, want: "breaker min_requests must be at least 1"},
		"breaker consecutive_failures":     {handler: `{"breaker": {"consecutive_failures": -2}}`, want: "breaker consecutive_failures must not be negative"},
		"breaker window":                   {handler: `{"breaker": {"window": -1}}`, want: "breaker window must not be negative"},
		"breaker cool_down":                {handler: `{"breaker": {"cool_down": -1}}`, want: "breaker cool_down must be positive"},
		"breaker hold":                     {handler: `{"breaker": {"hold": -2}}`, want: "breaker hold must not be negative"},
		"breaker hold without places":      {handler: `{"queue": 0, "breaker": {"hold": "5s"}}`, want: "breaker hold 5s lets requests wait, and queue 0 has no place for them"},
		"breaker hold of a pool":           {app: `{"pools": {"a": {"queue": 0, "breaker": {"hold": "5s"}}}}`, want: "pool 'a': breaker hold 5s lets requests wait"},
		"breaker slow_ratio, empty":        {handler: `{"breaker": {"slow_ratio": {}}}`, want: "breaker slow_ratio: set a 'ratio' above 0 and up to 1 and a 'time' above zero, or 'off' alone"},
		"breaker slow_ratio above":         {handler: `{"breaker": {"slow_ratio": {"ratio": 2, "time": 1}}}`, want: "breaker slow_ratio: set"},
		"breaker slow_ratio, no time":      {handler: `{"breaker": {"slow_ratio": {"ratio": 0.5}}}`, want: "breaker slow_ratio: set"},
		"breaker slow_ratio, only time":    {handler: `{"breaker": {"slow_ratio": {"time": "2s"}}}`, want: "breaker slow_ratio: set"},
		"breaker slow_ratio off and more":  {handler: `{"breaker": {"slow_ratio": {"off": true, "time": "2s"}}}`, want: "breaker slow_ratio: set"},
		"breaker slow_ratio, slower":       {handler: `{"run_timeout": "1s", "first_byte_timeout": -1, "breaker": {"slow_ratio": {"ratio": 0.5, "time": "2s"}}}`, want: "breaker slow_ratio would count no run, since the timeout 1s ends each before it has taken 2s"},
		"breaker statuses":                 {handler: `{"breaker": {"statuses": ["5xx", 600]}}`, want: "bad statuses value '600': want codes from 400 to 599, or the classes 4xx and 5xx"},
		"breaker statuses, no list":        {handler: `{"breaker": {"statuses": 429}}`, want: "cannot unmarshal number"},
		"breaker probes":                   {handler: `{"breaker": {"probes": -1}}`, want: "breaker probes must be at least 1"},
		"breaker probe_timeout":            {handler: `{"breaker": {"probe_timeout": -1}}`, want: "breaker probe_timeout must not be negative"},
		"breaker without a rule":           {handler: `{"breaker": {"failure_ratio": -1}}`, want: "breaker has no rule"},
		"window below first_byte_timeout":  {handler: `{"breaker": {"window": "59s"}, "first_byte_timeout": "20s"}`, want: "breaker window 59s is too short for the timeout 20s"},
		"window below run_timeout":         {handler: `{"breaker": {"window": "59s"}, "run_timeout": "20s"}`, want: "want at least 1m0s"},
		"window of a pool below a timeout": {app: `{"pools": {"a": {"breaker": {"window": "59s"}}}}`, handler: `{"pool": "a", "run_timeout": "20s"}`, want: "pool 'a': breaker window 59s is too short"},
		"pool of the app":                  {app: `{"pools": {"a": {"concurrency": -2, "linger": -2}}}`, want: "pool 'a': concurrency must not be negative\nlinger must not be negative"},
		"spool memory":                     {app: `{"spool": {"memory": -1}}`, want: "spool: memory, disk, uploads and min_rate must not be negative"},
		"spool disk":                       {app: `{"spool": {"disk": -1}}`, want: "spool: memory, disk, uploads and min_rate must not be negative"},
		"spool min_rate":                   {app: `{"spool": {"min_rate": -2}}`, want: "spool: memory, disk, uploads and min_rate must not be negative"},
		"spool uploads":                    {app: `{"spool": {"uploads": -1}}`, want: "spool: memory, disk, uploads and min_rate must not be negative"},
		"request_spool below":              {handler: `{"request_spool": {"memory": -1}}`, want: "request_spool: sizes must not be negative"},
		"response_spool below":             {handler: `{"response_spool": {"file": -1}}`, want: "response_spool: sizes must not be negative"},
		"request_spool above":              {handler: `{"request_spool": {"memory": 5000000000000000000}}`, want: "request_spool: sizes must not be above"},
		"request_spool without room":       {handler: `{"request_spool": {}}`, want: "request_spool: set 'memory' or 'file' above zero, or 'off' without them"},
		"request_spool off with a size":    {handler: `{"request_spool": {"off": true, "file": 1}}`, want: "request_spool: set 'memory' or 'file' above zero, or 'off' without them"},
		"routes of handle_reject":          {handler: `{"handle_reject": [{"handle": [{"handler": "nobody"}]}]}`, want: "handle_reject: "},
		"all at once":                      {handler: `{"upgrades": "off", "stall_timeout": -2}`, want: "stall_timeout must not be negative\nunknown upgrades"},
	} {
		t.Run(name, func(t *testing.T) {
			config := &caddy.Config{Logging: quiet(), AppsRaw: caddy.ModuleMap{}}
			if test.app != "" {
				config.AppsRaw["offload"] = json.RawMessage(test.app)
			}
			if test.handler != "" {
				config.AppsRaw["http"] = serverOf(t, test.handler)
			}
			err := caddy.Validate(config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			noPools(t)
		})
	}
}

// serverOf returns the JSON of the HTTP app with one route that this handler is
// alone in.
func serverOf(t *testing.T, handler string) json.RawMessage {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(handler), &fields); err != nil {
		t.Fatal(err)
	}
	if fields != nil {
		fields["handler"] = json.RawMessage(`"offload"`)
	}
	config, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"servers": {"srv0": {"listen": [":8080"], "routes": [{"handle": [%s]}]}}}`, config)
}

// defaults are the settings of a route's own pool when nothing was set: the
// timeout of the first byte is the longest.
func defaults(change func(*offloader.Settings)) offloader.Settings {
	s := offloader.DefaultSettings()
	s.LongestRun = defaultFirstByteTimeout
	change(&s)
	return s
}

// Zero or no value means the default for every number of a pool, and -1 means off where
// that is allowed.
func TestPoolSettings(t *testing.T) {
	g := provision(t, `{}`)
	for config, change := range map[string]func(*offloader.Settings){
		`{}`:                  func(*offloader.Settings) {},
		`{"concurrency": 0}`:  func(*offloader.Settings) {},
		`{"concurrency": 3}`:  func(s *offloader.Settings) { s.Concurrency = 3 },
		`{"concurrency": -1}`: func(s *offloader.Settings) { s.Concurrency = 0 },
		`{"queue": null}`:     func(*offloader.Settings) {},
		`{"queue": 3}`:        func(s *offloader.Settings) { s.Queue = 3 },
		`{"queue": 0}`:        func(s *offloader.Settings) { s.Queue = 0 },
		`{"max_wait": 0}`:     func(*offloader.Settings) {},
		`{"max_wait": "3s"}`:  func(s *offloader.Settings) { s.MaxWait = 3 * time.Second },
		`{"max_wait": -1}`:    func(s *offloader.Settings) { s.MaxWait = 0 },
		`{"linger": 0}`:       func(*offloader.Settings) {},
		`{"linger": "3s"}`:    func(s *offloader.Settings) { s.Linger = 3 * time.Second },
		`{"linger": -1}`:      func(*offloader.Settings) {},
		`{"order": "auto"}`:   func(*offloader.Settings) {},
		`{"order": "fifo"}`:   func(s *offloader.Settings) { s.Order = offloader.OrderFIFO },

		`{"breaker": null}`:                         func(*offloader.Settings) {},
		`{"breaker": {}}`:                           func(*offloader.Settings) {},
		`{"breaker": {"off": true}}`:                func(s *offloader.Settings) { s.Breaker = nil },
		`{"breaker": {"failure_ratio": 0}}`:         func(*offloader.Settings) {},
		`{"breaker": {"failure_ratio": 0.25}}`:      func(s *offloader.Settings) { s.Breaker.FailureRatio = 0.25 },
		`{"breaker": {"failure_ratio": 1}}`:         func(s *offloader.Settings) { s.Breaker.FailureRatio = 1 },
		`{"breaker": {"min_requests": 0}}`:          func(*offloader.Settings) {},
		`{"breaker": {"min_requests": 3}}`:          func(s *offloader.Settings) { s.Breaker.MinRequests = 3 },
		`{"breaker": {"consecutive_failures": 0}}`:  func(*offloader.Settings) {},
		`{"breaker": {"consecutive_failures": 3}}`:  func(s *offloader.Settings) { s.Breaker.ConsecutiveFailures = 3 },
		`{"breaker": {"consecutive_failures": -1}}`: func(*offloader.Settings) {},
		`{"breaker": {"failure_ratio": -1, "consecutive_failures": 3}}`: func(s *offloader.Settings) {
			s.Breaker.FailureRatio, s.Breaker.ConsecutiveFailures = 0, 3
		},
		`{"breaker": {"window": 0}}`:                 func(*offloader.Settings) {},
		`{"breaker": {"window": "1m"}}`:              func(s *offloader.Settings) { s.Breaker.Window = time.Minute },
		`{"breaker": {"cool_down": 0}}`:              func(*offloader.Settings) {},
		`{"breaker": {"cool_down": "3s"}}`:           func(s *offloader.Settings) { s.Breaker.CoolDown = 3 * time.Second },
		`{"breaker": {"slow_ratio": null}}`:          func(*offloader.Settings) {},
		`{"breaker": {"slow_ratio": {"off": true}}}`: func(*offloader.Settings) {},
		`{"breaker": {"slow_ratio": {"ratio": 0.3, "time": "2s"}}}`: func(s *offloader.Settings) {
			s.Breaker.SlowRatio, s.Breaker.SlowAfter = 0.3, 2*time.Second
		},
		`{"breaker": {"failure_ratio": -1, "slow_ratio": {"ratio": 1, "time": 1}}}`: func(s *offloader.Settings) {
			s.Breaker.FailureRatio, s.Breaker.SlowRatio, s.Breaker.SlowAfter = 0, 1, 1
		},
		`{"breaker": {"statuses": []}}`:           func(*offloader.Settings) {},
		`{"breaker": {"statuses": ["5xx"]}}`:      func(*offloader.Settings) {},
		`{"breaker": {"statuses": ["4xx", 503]}}`: func(s *offloader.Settings) { s.Breaker.Statuses = "4xx 503" },
		`{"breaker": {"hold": 0}}`:                func(*offloader.Settings) {},
		`{"breaker": {"hold": -1}}`:               func(*offloader.Settings) {},
		`{"breaker": {"hold": "3s"}}`:             func(s *offloader.Settings) { s.Breaker.Hold = 3 * time.Second },

		`{"breaker": {"probes": 0}}`:           func(*offloader.Settings) {},
		`{"breaker": {"probes": 3}}`:           func(s *offloader.Settings) { s.Breaker.Probes = 3 },
		`{"breaker": {"probe_timeout": 0}}`:    func(*offloader.Settings) {},
		`{"breaker": {"probe_timeout": "3s"}}`: func(s *offloader.Settings) { s.Breaker.ProbeTimeout = 3 * time.Second },

		`{"run_timeout": 0}`:                                func(*offloader.Settings) {},
		`{"run_timeout": -1}`:                               func(*offloader.Settings) {},
		`{"run_timeout": "1s"}`:                             func(*offloader.Settings) {},
		`{"run_timeout": "5m"}`:                             func(s *offloader.Settings) { s.LongestRun = 5 * time.Minute },
		`{"first_byte_timeout": 0}`:                         func(*offloader.Settings) {},
		`{"first_byte_timeout": "5m"}`:                      func(s *offloader.Settings) { s.LongestRun = 5 * time.Minute },
		`{"first_byte_timeout": -1}`:                        func(s *offloader.Settings) { s.LongestRun = 0 },
		`{"first_byte_timeout": -1, "run_timeout": "1s"}`:   func(s *offloader.Settings) { s.LongestRun = time.Second },
		`{"first_byte_timeout": "1s", "run_timeout": -1}`:   func(s *offloader.Settings) { s.LongestRun = time.Second },
		`{"first_byte_timeout": "1s", "run_timeout": "2s"}`: func(s *offloader.Settings) { s.LongestRun = 2 * time.Second },
	} {
		t.Run(config, func(t *testing.T) {
			got, want := g.mustHandler(config).pool.Settings(), defaults(change)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v, breaker %+v\nwant %+v, breaker %+v", got, got.Breaker, want, want.Breaker)
			}
		})
	}
}

// The same for the numbers of a route.
func TestRouteSettings(t *testing.T) {
	g := provision(t, `{"proxy_status_name": "app"}`)
	type route struct {
		firstByte, runTime time.Duration
		stall              time.Duration
		request, response  spool.Bounds
		statuses           answers.Statuses
		statusName         string
	}
	bounds := spool.Bounds{Memory: 256 << 10, File: 1 << 30}
	for config, change := range map[string]func(*route){
		`{}`:                                func(*route) {},
		`{"first_byte_timeout": 0}`:         func(*route) {},
		`{"first_byte_timeout": -1}`:        func(r *route) { r.firstByte = 0 },
		`{"first_byte_timeout": "3s"}`:      func(r *route) { r.firstByte = 3 * time.Second },
		`{"run_timeout": 0}`:                func(*route) {},
		`{"run_timeout": -1}`:               func(*route) {},
		`{"run_timeout": "3s"}`:             func(r *route) { r.runTime = 3 * time.Second },
		`{"stall_timeout": 0}`:              func(*route) {},
		`{"stall_timeout": -1}`:             func(r *route) { r.stall = 0 },
		`{"stall_timeout": "3s"}`:           func(r *route) { r.stall = 3 * time.Second },
		`{"request_spool": null}`:           func(*route) {},
		`{"request_spool": {"off": true}}`:  func(r *route) { r.request = spool.Bounds{} },
		`{"request_spool": {"memory": 3}}`:  func(r *route) { r.request = spool.Bounds{Memory: 3} },
		`{"response_spool": {"file": 3}}`:   func(r *route) { r.response = spool.Bounds{File: 3} },
		`{"response_spool": {"off": true}}`: func(r *route) { r.response = spool.Bounds{} },
		`{"reject_status": 0}`:              func(*route) {},
		`{"reject_status": 429}`:            func(r *route) { r.statuses.Reject = 429 },
		`{"timeout_status": 0}`:             func(*route) {},
		`{"timeout_status": 500}`:           func(r *route) { r.statuses.Timeout = 500 },
		`{"proxy_status_name": ""}`:         func(*route) {},
		`{"proxy_status_name": "route"}`:    func(r *route) { r.statusName = "route" },
	} {
		t.Run(config, func(t *testing.T) {
			h := g.mustHandler(config)
			got := route{
				h.route.FirstByteTimeout, h.route.RunTimeout, h.route.Response.Stall, h.route.RequestBounds, h.route.Response.Bounds,
				h.route.Statuses, h.route.ProxyStatusName,
			}
			want := route{60 * time.Second, 0, 60 * time.Second, bounds, bounds, answers.Statuses{Reject: 503, Timeout: 504}, "app"}
			change(&want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}

// Zero, or nothing, is the default of every number of the budget.
func TestSpoolLimits(t *testing.T) {
	data := t.TempDir()
	t.Setenv("XDG_DATA_HOME", data)
	t.Setenv("HOME", data)
	want := spool.Limits{Dir: filepath.Join(caddy.AppDataDir(), "offload", "spool"), Memory: 256 << 20, Disk: 8 << 30, Uploads: 1000, MinRate: 500}
	for _, config := range []string{`{}`, `{"spool": null}`, `{"spool": {}}`, `{"spool": {"dir": "", "memory": 0, "disk": 0, "uploads": 0, "min_rate": 0}}`} {
		if got := provision(t, config).app.limits; got != want {
			t.Errorf("%s: got %+v, want %+v", config, got, want)
		}
	}
	got := provision(t, `{"spool": {"dir": "/x", "memory": 1, "disk": 2, "uploads": 3, "min_rate": 4}}`).app.limits
	if want := (spool.Limits{Dir: "/x", Memory: 1, Disk: 2, Uploads: 3, MinRate: 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := provision(t, `{"spool": {"min_rate": -1}}`).app.limits; got.MinRate != 0 {
		t.Errorf("got a least rate of %d", got.MinRate)
	}
}

// The longest timeout of all routes of a pool counts for its breaker.
func TestLongestRunOfAPool(t *testing.T) {
	g := provision(t, `{"pools": {"shared": {"concurrency": 3}}}`)
	pool := g.mustHandler(`{"pool": "shared", "first_byte_timeout": "5m"}`).pool
	if other := g.mustHandler(`{"pool": "shared", "run_timeout": "2m"}`).pool; other != pool {
		t.Error("two pools of one name")
	}
	if err := g.app.commit(); err != nil {
		t.Fatal(err)
	}
	if s := pool.Settings(); s.LongestRun != 5*time.Minute || s.Concurrency != 3 {
		t.Errorf("got %+v", s)
	}
}

// A breaker's window is at least 30 seconds and three times the larger timeout.
func TestDefaultWindow(t *testing.T) {
	for config, window := range map[string]time.Duration{
		`{}`:                         180 * time.Second,
		`{"first_byte_timeout": -1}`: 30 * time.Second,
		`{"first_byte_timeout": "5s", "run_timeout": "8s"}`:  30 * time.Second,
		`{"first_byte_timeout": "5s", "run_timeout": "50s"}`: 150 * time.Second,
		`{"run_timeout": "5m"}`:                              900 * time.Second,
		`{"breaker": {"window": "45s"}}`:                     45 * time.Second,
	} {
		t.Run(config, func(t *testing.T) {
			settings := provision(t, `{}`).mustHandler(config).pool.Settings()
			for share, trips := range map[float64]bool{0.8: true, 1.2: false} {
				if got := tripsAfter(t, settings, time.Duration(share*float64(window))); got != trips {
					t.Errorf("after %v of %s: trips %v", share, window, got)
				}
			}
		})
	}
}

// tripsAfter reports whether failures count together with one that comes later.
func tripsAfter(t *testing.T, s offloader.Settings, pause time.Duration) (trips bool) {
	synctest.Test(t, func(t *testing.T) {
		pool, err := offloader.New("window", s)
		if err != nil {
			t.Fatal(err)
		}
		for n := range s.Breaker.MinRequests {
			if n == s.Breaker.MinRequests-1 {
				<-time.After(pause)
			}
			permit, err := pool.TryAcquire()
			if err != nil {
				t.Fatal(err)
			}
			permit.Release(offloader.Failure)
		}
		trips = pool.Snapshot().Breaker == offloader.StateOpen
	})
	return trips
}

// One site on several addresses is several routes with one definition.
func TestSameNameTwice(t *testing.T) {
	g := provision(t, `{}`)
	one := g.mustHandler(`{"name": "one", "concurrency": 2, "queue": 0, "breaker": {"probes": 2}}`)
	two := g.mustHandler(`{"name": "one", "concurrency": 2, "queue": 0, "breaker": {"probes": 2}, "run_timeout": "5m"}`)
	if one.pool != two.pool {
		t.Error("two pools of one name")
	}
	if n, _ := process.Pools.Named.References("one"); n != 1 {
		t.Errorf("%d references by one configuration", n)
	}
	for _, config := range []string{
		`{"name": "one"}`,
		`{"name": "one", "concurrency": 2, "queue": 0, "breaker": {"probes": 3}}`,
		`{"name": "one", "concurrency": 2, "queue": 1, "breaker": {"probes": 2}}`,
		`{"name": "one", "concurrency": 2, "queue": 0}`,
	} {
		if _, err := g.handler(config); err == nil || !strings.Contains(err.Error(), "pool 'one' is defined twice") {
			t.Errorf("%s: got %v", config, err)
		}
	}
	if _, err := g.handler(`{"pool": "one"}`); err == nil || !strings.Contains(err.Error(), "unknown pool 'one'") {
		t.Errorf("a route's own pool for another route: got %v", err)
	}
}

// Routes without a name have separate pools, whose names depend on their settings
// alone.
func TestNameless(t *testing.T) {
	names := func() []string {
		g := provision(t, `{}`)
		defer g.end()
		var names []string
		for _, config := range []string{`{}`, `{}`, `{"concurrency": 3}`, `{"run_timeout": "3s"}`} {
			h := g.mustHandler(config)
			if h.pool.Name() != h.Name || !strings.HasPrefix(h.Name, "unnamed-") || slices.Contains(names, h.Name) {
				t.Errorf("named %s and %s after %q", h.Name, h.pool.Name(), names)
			}
			names = append(names, h.Name)
		}
		return names
	}
	if one, two := names(), names(); !slices.Equal(one, two) {
		t.Errorf("got %q and then %q", one, two)
	}
}

// optionsOf are all options of the Caddyfile with the type whose JSON they become.
var optionsOf = map[reflect.Type][]string{
	reflect.TypeFor[App]():           appOptions,
	reflect.TypeFor[SpoolConfig]():   spoolOptions,
	reflect.TypeFor[PoolConfig]():    poolOptions,
	reflect.TypeFor[BreakerConfig](): settings.Breaker.Names(),
	reflect.TypeFor[Handler]():       append([]string{"name"}, routeOptions...),
}

// JSON keys equal the options.
func TestOptionsAreKeys(t *testing.T) {
	exceptions := []string{"pool", "pools", "off"} // a block with a name; what a route names; an argument
	for config, options := range optionsOf {
		drop := func(s string) bool { return slices.Contains(exceptions, s) }
		keys, options := slices.DeleteFunc(adapttest.Keys(config), drop), slices.DeleteFunc(slices.Clone(options), drop)
		slices.Sort(options)
		if !slices.Equal(keys, options) {
			t.Errorf("%s has the keys %q and the options %q", config, keys, options)
		}
	}
}

// Each option has a file in testdata where it works and one where it does not. The plugin for
// jobs has those of its option: without the plugin it works nowhere.
func TestOptionsAreTested(t *testing.T) {
	options := slices.Concat(slices.Collect(maps.Values(optionsOf))...)
	adapttest.Options(t, slices.DeleteFunc(options, func(s string) bool { return s == "jobs" }))
}

// The reflection of siteAddress fits this version of Caddy: the fallback is in none of the
// files in testdata.
func TestSiteAddressIsFound(t *testing.T) {
	files, _ := filepath.Glob("testdata/names_*.caddyfiletest")
	if len(files) == 0 {
		t.Fatal("no files")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), fmt.Sprintf("%q: %q", "name", "site")) {
			t.Errorf("%s: the site's address was not found", file)
		}
	}
}

// Routes of one pool have one mode, in any order.
func TestModesOfOnePoolMustAgree(t *testing.T) {
	for _, modes := range [][2]string{{"shadow", ""}, {"enforce", "shadow"}, {"shadow", "shadow"}, {"", "enforce"}} {
		g := provision(t, `{"pools": {"a": {}}}`)
		g.mustHandler(`{"pool": "a", "mode": "` + modes[0] + `"}`)
		_, err := g.handler(`{"pool": "a", "mode": "` + modes[1] + `"}`)
		differ := (modes[0] == "shadow") != (modes[1] == "shadow")
		if differ && (err == nil || !strings.Contains(err.Error(), "pool 'a' has routes with 'mode shadow' and others without")) || !differ && err != nil {
			t.Errorf("%q: got %v", modes, err)
		}
		g.end()
	}
}
