// The routes for Jetty, with the threads that it has by itself.
import java.nio.ByteBuffer;
import org.eclipse.jetty.server.Handler;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.Fields;

public class JettyServer {
    public static void main(String[] args) throws Exception {
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(args[0]));
        server.addConnector(connector);
        server.setHandler(new Routes());
        server.start();
        server.join();
    }

    static class Routes extends Handler.Abstract {
        @Override
        public boolean handle(Request request, Response response, Callback callback) throws Exception {
            if (!Request.getPathInContext(request).equals("/fast")) {
                Fields query = Request.extractQueryParameters(request);
                Journal.hold(query.getValue("id"), Double.parseDouble(query.getValue("seconds")));
            }
            response.getHeaders().put("Content-Length", 5);
            response.write(true, ByteBuffer.wrap("done\n".getBytes()), callback);
            return true;
        }
    }
}
