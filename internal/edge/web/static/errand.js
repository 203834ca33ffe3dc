// Presses the button of a page that only passes a message on. Without script
// the person presses it.
"use strict";
document.getElementById("errand").submit();
