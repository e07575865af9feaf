// Files that are loaded as their text.
declare module "*.css" {
  const text: string;
  export default text;
}
