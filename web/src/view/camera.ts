/** A picture from the camera, in a dialogue. */

import { byId, say, within } from "./elements";

const WORDS: Record<string, string> = {
  NotAllowedError: "The camera may not be used: allow it in the browser's settings of this page.",
  NotFoundError: "There is no camera.",
  NotReadableError: "The camera is in use by another program.",
};

/** Opens the dialogue; `takes` hears of the picture, if one is taken. */
export async function openCamera(takes: (file: Blob) => void): Promise<void> {
  const dialog = byId("camera", HTMLDialogElement);
  const video = within(dialog, "video", HTMLVideoElement);
  const error = within(dialog, ".error", HTMLElement);
  const take = within(dialog, ".take", HTMLButtonElement);
  const close = within(dialog, ".close", HTMLButtonElement);
  let stream: MediaStream | null = null;

  say(error, "");
  take.disabled = true;
  close.onclick = () => dialog.close();
  dialog.onclose = () => {
    stream?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  };
  take.onclick = async () => {
    const file = await frameOf(video);
    dialog.close();
    if (file) takes(file);
  };
  dialog.showModal();
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "NotFoundError");
    stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 1280 } },
    });
    if (!dialog.open) {
      dialog.onclose(new Event("close"));
      return;
    }
    video.srcObject = stream;
    await video.play();
    take.disabled = false;
  } catch (reason) {
    const name = reason instanceof DOMException ? reason.name : "";
    say(error, WORDS[name] ?? "The camera cannot be opened.");
  }
}

async function frameOf(video: HTMLVideoElement): Promise<Blob | null> {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
