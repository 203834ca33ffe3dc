<?php
// PHP's own web server knows no PATH_INFO behind a script's name as Apache
// does: this finds the script and hands over the rest of the path.
$path = urldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));
$root = $_SERVER['DOCUMENT_ROOT'];
if (preg_match('#^(/.*?\.php)(/.*)?$#', $path, $m) && is_file($root . $m[1])) {
    $_SERVER['SCRIPT_NAME'] = $_SERVER['PHP_SELF'] = $m[1];
    $_SERVER['SCRIPT_FILENAME'] = $root . $m[1];
    $_SERVER['PATH_INFO'] = $m[2] ?? '';
    chdir(dirname($root . $m[1]));
    require $root . $m[1];
    return true;
}
return false;
