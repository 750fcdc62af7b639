/** The ellipse of a covariance. */

const WITHIN_95 = Math.sqrt(5.991); // standard deviations, in the plane

export interface Ellipse {
  readonly long: number; // half axes, pixels
  readonly short: number;
  readonly angle: number; // of the long axis, radians from x towards y
}

/** covariance: xx, xy, yx, yy. The ellipse holds 95 % of a normal distribution. */
export function ellipseOf(covariance: ArrayLike<number>): Ellipse {
  const [xx, xy, yy] = [covariance[0]!, covariance[1]!, covariance[3]!];
  const middle = (xx + yy) / 2;
  const off = Math.hypot((xx - yy) / 2, xy);
  return {
    long: WITHIN_95 * Math.sqrt(Math.max(0, middle + off)),
    short: WITHIN_95 * Math.sqrt(Math.max(0, middle - off)),
    angle: Math.atan2(2 * xy, xx - yy) / 2,
  };
}
