// What goes on inside a server: a line when a request begins and one when it ends.
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

class Journal {
    static void hold(String id, double seconds) throws IOException {
        write("start " + id);
        try {
            Thread.sleep((long) (1000 * seconds));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            write("end " + id);
        }
    }

    private static void write(String line) throws IOException {
        Files.writeString(Path.of(System.getenv("JOURNAL")), line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }
}
