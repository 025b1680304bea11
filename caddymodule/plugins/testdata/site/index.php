<?php
// What upstream_test.go answers, by PHP.
[, $path] = explode('/', $_SERVER['REQUEST_URI']);
switch ($path) {
    case 'again':
        file_get_contents('php://input');
        header('X-Then: 1');
        break;
    case 'echo':
        header('Content-Type: application/octet-stream');
        echo file_get_contents('php://input');
        break;
    case 'large':
        header('Content-Type: text/plain');
        echo str_repeat("all work and no play\n", 50000);
        break;
    case 'zipped':
        header('Content-Type: text/plain');
        header('Content-Encoding: gzip');
        echo gzencode(str_repeat('zipped ', 1000));
        break;
    case 'events':
        header('Content-Type: text/event-stream');
        for ($i = 0; $i < 3; $i++) {
            echo "data: $i\n\n";
            flush();
        }
        break;
    case 'gone':
        http_response_code(404);
        echo "not here\n";
        break;
    case 'broken':
        http_response_code(500);
        echo "broken\n";
        break;
    case 'nothing':
        http_response_code(204);
        break;
    case 'cut':
        header('Content-Length: 1000');
        echo 'a part';
        break;
    default:
        header('Content-Type: text/plain');
        echo $_SERVER['REQUEST_METHOD'], ' ', $_SERVER['REQUEST_URI'];
}
