package clients

// Client is a client of HTTP or gRPC, used in one way.
type Client struct {
	// Name in the result file.
	Name string
	// Title on the page.
	Title string
	// Use is how the lab uses it.
	Use string
	// Advice is the setting to use in the client, in Markdown.
	Advice string
}

// Catalogue has the clients in the order of the page.
var Catalogue = []Client{
	{
		"urllib", "Python `urllib.request`", "`urlopen`",
		"it never retries: catch `HTTPError`, sleep for its `Retry-After`, send again",
	},
	{
		"urllib3", "urllib3", "`PoolManager()`, its defaults",
		"keep `respect_retry_after_header`. The thread sleeps meanwhile: bound it with `Retry(total=2, retry_after_max=20)`. " +
			"For jobs that can be sent twice: `allowed_methods=None`",
	},
	{
		"requests", "requests", "`HTTPAdapter(max_retries=Retry(3, backoff_factor=0.5, status_forcelist=[429, 502, 503, 504]))`",
		"leave 504 out of `status_forcelist`, or each retry runs the job again; `raise_on_status=False` gives the last answer instead of `RetryError`; " +
			"`timeout` does not bound the sleeps",
	},
	{
		"httpx", "httpx, `Client`", "`request`",
		"`retries` of its transport is for connections only: write the loop, with the sleep for `Retry-After`",
	},
	{"httpx-async", "httpx, `AsyncClient`", "`request`", "as above, with `asyncio.sleep`"},
	{"aiohttp", "aiohttp", "`ClientSession`", "it retries closed connections only: write the loop"},
	{
		"grpcio", "grpcio", "a `retryPolicy` on `UNAVAILABLE`, 4 attempts from 0.1 s",
		"set the policy: the pauses are those that the proxy names. Leave `DEADLINE_EXCEEDED` and `CANCELLED` out of its codes",
	},
	{"undici", "undici and Node's `fetch`", "`fetch`", "it never retries: write the loop"},
	{
		"undici-retry", "undici, `RetryAgent`", "its defaults",
		"`statusCodes: [429, 503]`, so that it does not run a job again after 504; `maxTimeout: 60000`, or it returns after 30 s where the announced time is longer; " +
			"`throwOnError: false` gives the answer, which a POST has no other way to see",
	},
	{"got", "got", "its defaults", "`retry: {statusCodes: [429, 503]}`; add `methods: ['POST']` only with an idempotency key"},
	{"net-http", "Go, `net/http`", "`Client.Do`", "it retries closed connections only: write the loop, or use a library"},
	{
		"retryablehttp", "go-retryablehttp", "`NewClient()`, its defaults",
		"it sends POST again, after 504 too: set a `CheckRetry` that returns false for 504 and, without an idempotency key, for POST; " +
			"`ErrorHandler: retryablehttp.PassthroughErrorHandler` gives the last answer instead of an error",
	},
	{"grpc-go", "grpc-go", "a `retryPolicy` on `UNAVAILABLE`, 4 attempts from 0.1 s", "as grpcio"},
	{
		"curl", "curl", "`--retry 3`",
		"add `--fail` and `--retry-max-time`: `--max-time` bounds one try only. It sends POST again after 504 too: see `timeout_status`",
	},
	{
		"wget", "wget", "`--tries=4`; the default is 20",
		"`--tries=1`, or `timeout_status 500` on the route: it sends POST again after 504, and never after 503",
	},
	{"jdk", "Java, `HttpClient`", "`send`", "it never retries an answer: write the loop"},
	{
		"apache", "Apache HttpClient 5", "`HttpClients.createDefault()`",
		"it retries once, POST too: `setRetryStrategy(new DefaultHttpRequestRetryStrategy(2, TimeValue.ofSeconds(1)))` for two; " +
			"`disableAutomaticRetries()` without an idempotency key",
	},
	{"okhttp", "OkHttp", "`newCall`", "it retries a 503 with `Retry-After: 0` only, which is never sent: write an `Interceptor`"},
	{
		"chromium-fetch", "Chromium, `fetch`", "a page",
		"it never retries: write the loop; from another origin a page reads `Retry-After` if the site sets CORS fields",
	},
	{"chromium-events", "Chromium, `EventSource`", "a page", "nothing: the proxy answers so that it comes back. Write nothing in `handle_reject` that answers it with an error"},
	{"firefox-fetch", "Firefox, `fetch`", "a page", "as Chromium"},
	{"firefox-events", "Firefox, `EventSource`", "a page", "as Chromium"},
}

// Cases has the states of pools in the order of the page, and their titles there.
var Cases = []struct{ Name, Title string }{
	{"full", "queue full: 503"},
	{"open", "breaker open: 503"},
	{"draining", "pool draining: 503"},
	{"cancelled", "cancelled by an operator: 503 without a time"},
	{"timeout", "timeout: 504"},
	{"timeout-501", "timeout with `timeout_status 501`"},
}
