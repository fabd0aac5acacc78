FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# The compiler is an optional package of its own, so nothing is left out before it has run.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
# The embedded PostgreSQL stays out: an image gets its database by DATABASE_URL.
RUN npm run build && npm prune --omit=dev --omit=optional --ignore-scripts

FROM node:24-bookworm-slim
ENV NODE_ENV=production ROLLCALL_DATA_DIR=/var/lib/rollcall ROLLCALL_HOST=0.0.0.0
WORKDIR /app
RUN install -d -o node -g node -m 0700 /var/lib/rollcall
COPY package.json LICENSE ./
COPY migrations migrations
COPY templates templates
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
USER node
VOLUME /var/lib/rollcall
EXPOSE 8443 8080
ENTRYPOINT ["node", "dist/main.js"]
CMD ["serve"]
