<?php
// The routes for PHP-FPM. A script ends at its first output after its client has left;
// the function at its end writes the line then.
$route = basename(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));
if ($route === 'fast') {
    echo "fast\n";
    return;
}

function journal(string $line): void
{
    file_put_contents(getenv('JOURNAL'), $line . "\n", FILE_APPEND);
}

$ended = false;
$end = function () use (&$ended): void {
    if (!$ended) {
        $ended = true;
        journal('end ' . $_GET['id']);
    }
};
register_shutdown_function($end);
journal('start ' . $_GET['id']);
$stream = $route === 'stream';
if ($stream) {
    echo "first\n";
    flush();
}
usleep((int) (1_000_000 * (float) $_GET['seconds']));
$end();
echo $stream ? "last\n" : "done\n";
