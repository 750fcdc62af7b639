/** The eigenvector of the smallest eigenvalue of a small symmetric matrix, by Jacobi rotations. */

const SWEEPS = 20; // at most; it takes six or seven
const SMALL = 1e-28; // of the squares beside the diagonal, against all

/** matrix: [n n], row by row; it is not changed. */
export function smallestEigenvector(matrix: Float64Array, n: number): Float64Array {
  const a = matrix.slice();
  const vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
  const whole = a.reduce((sum, x) => sum + x * x, 0);
  for (let sweep = 0; sweep < SWEEPS && beside(a, n) > SMALL * whole; sweep++) {
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) rotate(a, vectors, n, p, q);
    }
  }
  let least = 0;
  for (let i = 1; i < n; i++) if (a[i * n + i]! < a[least * n + least]!) least = i;
  return Float64Array.from({ length: n }, (_, i) => vectors[i * n + least]!);
}

/** Makes a[p, q] zero. */
function rotate(a: Float64Array, vectors: Float64Array, n: number, p: number, q: number): void {
  const off = a[p * n + q]!;
  if (off === 0) return;
  const theta = (a[q * n + q]! - a[p * n + p]!) / (2 * off);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1);
  const s = t * c;
  for (let k = 0; k < n; k++) turn(a, k * n + p, k * n + q, c, s);
  for (let k = 0; k < n; k++) turn(a, p * n + k, q * n + k, c, s);
  for (let k = 0; k < n; k++) turn(vectors, k * n + p, k * n + q, c, s);
}

function turn(x: Float64Array, i: number, j: number, c: number, s: number): void {
  const one = x[i]!;
  const other = x[j]!;
  x[i] = c * one - s * other;
  x[j] = s * one + c * other;
}

function beside(a: Float64Array, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) if (i !== j) sum += a[i * n + j]! ** 2;
  return sum;
}
