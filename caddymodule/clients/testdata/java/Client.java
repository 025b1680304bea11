import com.google.gson.Gson;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import okhttp3.OkHttpClient;
import okhttp3.OkHttp;
import okhttp3.Request;
import okhttp3.RequestBody;
import org.apache.hc.client5.http.classic.methods.HttpUriRequestBase;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.core5.http.io.entity.ByteArrayEntity;
import org.apache.hc.core5.http.io.entity.EntityUtils;
import org.apache.hc.core5.http.ContentType;
import org.apache.hc.core5.util.VersionInfo;

/**
 * Runs one kind of client of HTTP. It prints one line with the versions, then reads calls from
 * standard input, one JSON object a line, and prints for each what its caller sees.
 */
public final class Client {
  private static final Gson GSON = new Gson();

  record Call(String id, String url, String method, Map<String, String> fields, int bytes, boolean obey) {
    byte[] body() {
      return bytes == 0 ? null : new byte[bytes];
    }
  }

  record Seen(String id, int status, Map<String, String> fields, String body, String error) {
    Seen of(Call call) {
      return new Seen(call.id, status, fields, body, error);
    }
  }

  interface Kind {
    Seen make(Call call) throws Exception;
  }

  private static Seen seen(int status, Map<String, String> fields, String body) {
    return new Seen("", status, fields, body, null);
  }

  private static Seen jdk(Call call) throws Exception {
    byte[] body = call.body();
    HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(call.url))
        .version(HttpClient.Version.HTTP_1_1)
        .method(call.method, body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofByteArray(body));
    call.fields.forEach(request::header);
    HttpResponse<String> response = HttpClient.newHttpClient().send(request.build(), HttpResponse.BodyHandlers.ofString());
    Map<String, String> fields = new TreeMap<>();
    response.headers().map().forEach((name, values) -> fields.put(name.toLowerCase(Locale.ROOT), values.get(0)));
    return seen(response.statusCode(), fields, response.body());
  }

  private static Seen apache(Call call) throws Exception {
    HttpUriRequestBase request = new HttpUriRequestBase(call.method, URI.create(call.url));
    call.fields.forEach(request::setHeader);
    if (call.bytes > 0) {
      request.setEntity(new ByteArrayEntity(call.body(), ContentType.APPLICATION_OCTET_STREAM));
    }
    try (var client = HttpClients.createDefault()) {
      return client.execute(request, response -> {
        Map<String, String> fields = new TreeMap<>();
        for (var field : response.getHeaders()) {
          fields.put(field.getName().toLowerCase(Locale.ROOT), field.getValue());
        }
        return seen(response.getCode(), fields, EntityUtils.toString(response.getEntity()));
      });
    }
  }

  private static Seen okhttp(Call call) throws Exception {
    byte[] body = call.body();
    Request.Builder request = new Request.Builder().url(call.url)
        .method(call.method, body == null ? null : RequestBody.create(body));
    call.fields.forEach(request::header);
    OkHttpClient client = new OkHttpClient();
    try (var response = client.newCall(request.build()).execute()) {
      Map<String, String> fields = new TreeMap<>();
      response.headers().forEach(field -> fields.put(field.getFirst().toLowerCase(Locale.ROOT), field.getSecond()));
      return seen(response.code(), fields, response.body().string());
    } finally {
      client.dispatcher().executorService().shutdown();
      client.connectionPool().evictAll();
    }
  }

  /** Is the loop of a program whose client has no retries of its own. */
  private static Seen obedient(Kind kind, Call call) throws Exception {
    for (int tries = 4;; tries--) {
      Seen answer = kind.make(call);
      String wait = answer.fields.get("retry-after");
      if (wait == null || tries == 1) {
        return answer;
      }
      Thread.sleep(1000L * Integer.parseInt(wait));
    }
  }

  private static void serve(Kind kind, Call call) {
    Seen answer;
    try {
      answer = call.obey ? obedient(kind, call) : kind.make(call);
    } catch (Exception error) {
      answer = new Seen("", 0, Map.of(), "", error.toString());
    }
    print(answer.of(call));
  }

  private static synchronized void print(Object line) {
    System.out.println(GSON.toJson(line));
    System.out.flush();
  }

  public static void main(String[] args) throws Exception {
    String name = args[0];
    Kind kind = switch (name) {
      case "jdk" -> Client::jdk;
      case "apache" -> Client::apache;
      case "okhttp" -> Client::okhttp;
      default -> throw new IllegalArgumentException(name);
    };
    String versions = switch (name) {
      case "apache" -> "httpclient5 " + VersionInfo
          .loadVersionInfo("org.apache.hc.client5", Client.class.getClassLoader()).getRelease();
      case "okhttp" -> "okhttp " + OkHttp.VERSION;
      default -> "java " + Runtime.version();
    };
    print(Map.of("versions", versions));
    var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      Call call = GSON.fromJson(line, Call.class);
      Thread thread = new Thread(() -> serve(kind, call));
      thread.setDaemon(true);
      thread.start();
    }
  }
}
