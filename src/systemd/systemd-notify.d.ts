declare module 'systemd-notify' {
  /** Runs `systemd-notify`; rejected with an Error, or with what it printed. */
  function notify(options: {
    readonly ready?: boolean;
    readonly status?: string;
    readonly pid?: number;
    readonly booted?: boolean;
  }): Promise<unknown>;
  // biome-ignore lint/style/noDefaultExport: the package is CommonJS and exports one function
  export default notify;
}
