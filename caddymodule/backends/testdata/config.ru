# The routes for Puma.
require 'cgi'

JOURNAL = File.open(ENV.fetch('JOURNAL'), 'a')
JOURNAL.sync = true
HEADERS = { 'content-type' => 'text/plain', 'content-length' => '5' }.freeze

run(lambda do |env|
  if env['PATH_INFO'] != '/fast'
    query = CGI.parse(env['QUERY_STRING'])
    id = query['id'][0]
    JOURNAL.syswrite("start #{id}\n")
    begin
      sleep query['seconds'][0].to_f
    ensure
      JOURNAL.syswrite("end #{id}\n")
    end
  end
  [200, HEADERS, ["done\n"]]
end)
