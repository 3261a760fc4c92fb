// What the bundler makes of files that are no code.

declare module "*.css";
