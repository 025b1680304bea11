// The routes for the HttpServer of the JDK, without an executor: one thread runs all.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;

public class JdkServer {
    public static void main(String[] args) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 0);
        server.createContext("/", JdkServer::answer);
        server.start();
    }

    static void answer(HttpExchange exchange) throws IOException {
        if (!exchange.getRequestURI().getPath().equals("/fast")) {
            String query = exchange.getRequestURI().getQuery();
            Journal.hold(parameter(query, "id"), Double.parseDouble(parameter(query, "seconds")));
        }
        byte[] body = "done\n".getBytes();
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    static String parameter(String query, String name) {
        for (String part : query.split("&")) {
            if (part.startsWith(name + "=")) {
                return part.substring(name.length() + 1);
            }
        }
        throw new IllegalArgumentException(name);
    }
}
