<?php
$s = json_decode(file_get_contents(__DIR__ . '/settings.json'), true);
$people = ['exampleauth:UserPass'];
foreach ($s['people'] as $name => $person) {
    $people[$name . ':' . $s['password']] = $person;
}
$config = ['people' => $people];
