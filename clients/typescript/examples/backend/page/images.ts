/** Images that may fail to load at first. */

const WAITS_MS = [1000, 2000, 4000];

/** Loads an image, again after 1, 2 and 4 s when that fails; then calls `onFailed`. */
export function load(image: HTMLImageElement, url: string, onFailed: () => void): void {
  let failures = 0;
  image.onerror = () => {
    const wait = WAITS_MS[failures++];
    if (wait === undefined) return onFailed();
    const expected = image.src;
    setTimeout(() => {
      if (image.src === expected)
        image.src = `${url}${url.includes("?") ? "&" : "?"}again=${failures}`;
    }, wait);
  };
  image.src = url;
}
